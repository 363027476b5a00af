//! `tidegate pub`: publish messages as a device.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use connectors::contract::{QoS, Topic};

use super::{Outcome, refused, usage};
use crate::broker::client::{Client, ClientError, Options};
use crate::config::Config;

/// Arguments of `pub`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic.
    topic: String,
    /// The payload; without it each line of standard input is one message.
    payload: Option<String>,
    /// One message from a file's bytes.
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    payload_file: Option<PathBuf>,
    /// Quality of service; with 1 or 2 the broker's acknowledgement is awaited.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Let the broker keep the message as the topic's last value.
    #[arg(long)]
    retain: bool,
    #[command(flatten)]
    login: Login,
}

/// Which broker, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct Login {
    /// The broker; the configured listener by default.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<SocketAddr>,
    /// The user name; the vendor's form is `{device name}&{product key}`.
    #[arg(long)]
    username: Option<String>,
    /// The environment variable that holds the password.
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,
}

impl Login {
    /// Connects to the broker.
    pub(super) async fn connect(&self, config: &Config) -> anyhow::Result<Client> {
        let to = self.to.unwrap_or(config.listen.mqtt);
        let mut options = Options::new(format!("tidegate-{}", uuid::Uuid::new_v4().simple()));
        options.username = self.username.as_deref().map(Into::into);
        if let Some(name) = &self.password_env {
            let value = std::env::var(name);
            let value = value.with_context(|| format!("the environment variable `{name}`"))?;
            options.password = Some(value.into());
        }
        Client::connect(to, options).await.map_err(|error| match error {
            refused @ ClientError::Refused { .. } => anyhow::Error::new(refused).context(format!(
                "the MQTT broker at {to} does not let this client in; see `--username` and `--password-env`"
            )),
            error => anyhow::Error::new(error).context(format!(
                "cannot connect to the MQTT broker at {to}; is the daemon running? `--to` names another"
            )),
        })
    }
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    let topic = Topic::parse(args.topic.clone(), config.limits.topic())
        .map_err(|error| usage(anyhow::anyhow!("topic `{}`: {error}", args.topic)))?;
    single_thread(publish(args, config, &topic)).map_err(refused)
}

/// Runs a client on one thread.
pub(super) fn single_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn publish(args: &Args, config: &Config, topic: &Topic) -> anyhow::Result<()> {
    let mut client = args.login.connect(config).await?;
    let qos = QoS::try_from(args.qos).map_err(anyhow::Error::msg)?;
    if let Some(payload) = &args.payload {
        client.publish(topic, payload.as_bytes(), qos, args.retain).await?;
    } else if let Some(path) = &args.payload_file {
        let payload =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        client.publish(topic, &payload, qos, args.retain).await?;
    } else {
        for line in std::io::stdin().lock().lines() {
            client.publish(topic, line?.as_bytes(), qos, args.retain).await?;
        }
    }
    client.flush().await?;
    client.disconnect().await?;
    Ok(())
}
