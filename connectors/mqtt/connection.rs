//! The connection to an external broker: its options, and the link that all sinks on it share. It
//! never reconnects a link: a link that broke is replaced when the next delivery needs one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v5::ConnectReturnCode;
use rumqttc::{
    AsyncClient, Broker, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Packet,
    StateError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use crate::contract::{
    AnyConnection, ConfigError, ConnectionConfig, DeliveryError, Env, FailureKind, Period, Secret,
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that wait for their PUBACK on one connection, of all its sinks. The client looks at as many
/// places with every write, so that its default of 65,535 makes it some hundred times slower.
const INFLIGHT_MAX: u16 = 2048;

/// Publishes that wait to be written to the socket.
const QUEUE_MAX: usize = 1024;

/// The keep-alive unless `keep_alive` says otherwise.
const KEEP_ALIVE: Period = Period::from_secs(30);

/// The shortest and longest keep-alive (MQTT 5.0 §3.1.2.10), in seconds.
const KEEP_ALIVE_RANGE: std::ops::RangeInclusive<u64> = 1..=65_535;

/// An MQTT 5 broker for `mqtt` actions and sources.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// The broker's name or address.
    host: String,
    /// The broker's port.
    #[serde(default = "port")]
    port: u16,
    /// The beginning of the client ids: a source appends `-` and its name, the sinks share one with
    /// `-out`. With it the broker keeps QoS 1 messages for a source while the daemon is away, for a
    /// day; without it the ids are random.
    client_id: Option<String>,
    /// The user to log in as.
    username: Option<String>,
    /// The user's password.
    password: Option<Secret>,
    /// How often the connection is checked while nothing is sent.
    #[serde(default = "keep_alive")]
    keep_alive: Period,
}

fn port() -> u16 {
    1883
}

fn keep_alive() -> Period {
    KEEP_ALIVE
}

impl ConnectionConfig for MqttSettings {
    const NAME: &'static str = "mqtt";
    const SUMMARY: &'static str = "An external MQTT 5 broker.";
    const EXAMPLE: &'static str =
        r#"{ host: "127.0.0.1", port: 1883, client_id: tidegate, keep_alive: 30s }"#;

    fn open(self, _: &Env) -> Result<AnyConnection, ConfigError> {
        if self.host.is_empty() || self.host.contains(['/', ' ']) {
            return Err(ConfigError::new("host", "expected a name or address without a scheme"));
        }
        if self.password.is_some() && self.username.is_none() {
            return Err(ConfigError::new("password", "a password needs a `username`"));
        }
        let seconds = self.keep_alive.get().as_secs();
        let keep_alive =
            u16::try_from(seconds).ok().filter(|_| KEEP_ALIVE_RANGE.contains(&seconds));
        let Some(keep_alive) = keep_alive else {
            return Err(ConfigError::new("keep_alive", "expected 1s to 65535s"));
        };
        if self
            .client_id
            .as_ref()
            .is_some_and(|id| id.is_empty() || id.chars().any(char::is_control))
        {
            return Err(ConfigError::new(
                "client_id",
                "a client id has characters, but no controls",
            ));
        }
        let lasting = self.client_id.is_some();
        let client_id = self.client_id.unwrap_or_else(|| {
            // Any number that another daemon will not have too.
            format!("tidegate-{:016x}", RandomState::new().hash_one(0))
        });
        Ok(Arc::new(ExternalBroker {
            shown: format!("{}:{}", self.host, self.port),
            host: self.host,
            port: self.port,
            client_id,
            lasting,
            username: self.username,
            password: self.password,
            keep_alive,
            link: Mutex::default(),
        }))
    }
}

/// A broker and, once a sink needed it, the link to it.
pub(super) struct ExternalBroker {
    /// Host and port, for error texts.
    pub(super) shown: String,
    host: String,
    port: u16,
    client_id: String,
    /// The client id was chosen by the user, so that the broker's sessions outlive the daemon.
    pub(super) lasting: bool,
    username: Option<String>,
    password: Option<Secret>,
    keep_alive: u16,
    link: Mutex<Option<Arc<Link>>>,
}

impl ExternalBroker {
    /// Options for a client whose id ends with `role`.
    pub(super) fn options(&self, role: &str) -> MqttOptions {
        let broker = Broker::tcp(self.host.clone(), self.port);
        let mut options = MqttOptions::new(format!("{}-{role}", self.client_id), broker);
        options.set_keep_alive(self.keep_alive).set_connect_timeout(CONNECT_TIMEOUT);
        // A batch is many small packets: none may wait for the acknowledgement of the one before.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        match (&self.username, &self.password) {
            (Some(user), Some(password)) => {
                options.set_credentials(user.clone(), password.expose().to_owned());
            }
            (Some(user), None) => {
                options.set_username(user.clone());
            }
            (None, _) => {}
        }
        options
    }

    /// The link that all sinks share: the one that stands, or a new one.
    ///
    /// # Errors
    /// Why a new one could not be made.
    pub(super) async fn link(&self) -> Result<Arc<Link>, DeliveryError> {
        let link = {
            let mut slot = self.link.lock().await;
            match slot.as_ref().filter(|link| !link.is_over()) {
                Some(link) => link.clone(),
                None => slot.insert(Arc::new(Link::start(self))).clone(),
            }
        };
        link.connected().await?;
        Ok(link)
    }

    pub(super) fn failure(&self, error: &ConnectionError) -> DeliveryError {
        DeliveryError::new(kind_of(error), format!("mqtt {}: {error}", self.shown))
    }
}

/// What the end of a connection means for what was to be delivered over it.
fn kind_of(error: &ConnectionError) -> FailureKind {
    let (ConnectionError::ConnectionRefused(code)
    | ConnectionError::MqttState(StateError::ConnFail { reason: code })) = error
    else {
        return match error {
            ConnectionError::Timeout(_) => FailureKind::Timeout,
            _ => FailureKind::Unreachable,
        };
    };
    kind_of_refusal(*code)
}

/// What a reason in a CONNACK means (MQTT 5.0 §3.2.2.2).
fn kind_of_refusal(code: ConnectReturnCode) -> FailureKind {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword
        | Code::NotAuthorized
        | Code::Banned
        | Code::BadAuthenticationMethod => FailureKind::Denied,
        Code::RefusedProtocolVersion
        | Code::UnsupportedProtocolVersion
        | Code::BadClientId
        | Code::ClientIdentifierNotValid => FailureKind::Misconfigured,
        Code::ServerBusy | Code::QuotaExceeded | Code::ConnectionRateExceeded => FailureKind::Busy,
        _ => FailureKind::Unreachable,
    }
}

/// One network connection from its start to its end.
pub(super) struct Link {
    pub(super) client: AsyncClient,
    state: watch::Receiver<State>,
    task: AbortHandle,
}

#[derive(Debug, Clone)]
enum State {
    Connecting,
    Connected { packet_max: usize },
    Over(DeliveryError),
}

impl Link {
    fn start(broker: &ExternalBroker) -> Self {
        let mut options = broker.options("out");
        options.set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
        let (client, events) = AsyncClient::builder(options).capacity(QUEUE_MAX).build();
        let (sender, state) = watch::channel(State::Connecting);
        let shown = broker.shown.clone();
        let task = tokio::spawn(async move {
            let error = drive(events, &sender).await;
            let text = format!("mqtt {shown}: {error}");
            sender.send_replace(State::Over(DeliveryError::new(kind_of(&error), text)));
        });
        Self { client, state, task: task.abort_handle() }
    }

    /// Waits until the broker has answered.
    async fn connected(&self) -> Result<(), DeliveryError> {
        let mut state = self.state.clone();
        // An error means that the task is gone, and what it said last is in the state.
        state.wait_for(|state| !matches!(state, State::Connecting)).await.ok();
        match self.over() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The largest packet that the broker takes (MQTT 5.0 §3.2.2.3.6).
    pub(super) fn packet_max(&self) -> usize {
        match *self.state.borrow() {
            State::Connected { packet_max } => packet_max,
            _ => usize::MAX,
        }
    }

    /// Why the link is over, if it is.
    pub(super) fn over(&self) -> Option<DeliveryError> {
        if let State::Over(error) = &*self.state.borrow() {
            return Some(error.clone());
        }
        let cut = || DeliveryError::new(FailureKind::Unreachable, "the connection was given up");
        self.task.is_finished().then(cut)
    }

    fn is_over(&self) -> bool {
        self.over().is_some()
    }

    /// Ends a link that did not confirm in time; what waits on it fails, and the next delivery makes
    /// another one.
    pub(super) fn give_up(&self) {
        self.task.abort();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection until it breaks; what is not confirmed by then fails with it.
async fn drive(mut events: EventLoop, state: &watch::Sender<State>) -> ConnectionError {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                let most = answer.properties.and_then(|p| p.max_packet_size);
                let packet_max =
                    most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
                state.send_replace(State::Connected { packet_max });
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use ConnectReturnCode as Code;

    use super::*;

    #[test]
    fn r15_refusals_mean_what_the_engine_can_do() {
        let cases: [(FailureKind, &[Code]); 4] = [
            (
                FailureKind::Denied,
                &[
                    Code::BadUserNamePassword,
                    Code::NotAuthorized,
                    Code::Banned,
                    Code::BadAuthenticationMethod,
                ],
            ),
            (
                FailureKind::Misconfigured,
                &[
                    Code::BadClientId,
                    Code::ClientIdentifierNotValid,
                    Code::UnsupportedProtocolVersion,
                    Code::RefusedProtocolVersion,
                ],
            ),
            (
                FailureKind::Busy,
                &[Code::ServerBusy, Code::QuotaExceeded, Code::ConnectionRateExceeded],
            ),
            (FailureKind::Unreachable, &[Code::ServiceUnavailable, Code::ServerUnavailable]),
        ];
        for (kind, codes) in cases {
            for code in codes {
                assert_eq!(kind_of_refusal(*code), kind, "{code:?}");
            }
        }
    }
}
