//! A listener with the interface behind it, and an engine that does as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::contract::{
    Batch, Connections, Ingress, Message, ShutdownHandle, TopicLimits, shutdown,
};
use tidegate::api::{
    ApiLimits, ApiState, ClassMode, Destinations, Endpoint, FileLinks, JoinPermission, JoinType,
    NONCES_MAX, Nonces, PromiseText, RuleProblem, Rules, Signer, restore, router, serve,
};
use tidegate::history::{self, History};
use tidegate::registry::{self, Registry};
use tidegate::rule::store::{self, AccessKey, Role, Store};
use tidegate::rule::{DataType, Owner, Rule, Statement};
use tidegate::sql;
use tidegate::thing::{Clock, FileLimits, FileOptions, Forwarder, Options, Things};
use tidegate::web::Pages;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::client::Client;
use super::devices::Line;
use crate::schema::Schema;

/// The clock of all servers: 2019-02-28T06:14:33Z.
pub const NOW_MS: u64 = 1_551_334_473_000;

/// How much the servers' registries hold.
const REGISTRY: registry::Limits = registry::Limits { products: 4, devices: 10, groups: 108 };

/// The only key of a server, unless a test adds others.
pub fn key(role: Role) -> AccessKey {
    AccessKey {
        id: format!("test-{}", role.as_str()),
        secret: "testsecret".to_owned(),
        role,
        created_ms: 0,
        revoked_ms: None,
    }
}

/// Remembers the rules that run, by owner id.
#[derive(Default)]
pub struct Engine {
    pub running: Mutex<BTreeMap<u64, Rule>>,
}

impl Engine {
    fn problem(rule: &Rule) -> Option<RuleProblem> {
        if let Some(Statement::Parts { select, .. }) = &rule.sql
            && select.contains("BAD")
        {
            let message = "line 1, column 8: unexpected BAD".to_owned();
            return Some(RuleProblem { message, sql: true });
        }
        let refused = |action: &tidegate::rule::Action| {
            action.settings.to_string().contains("refused") || action.connector.is_empty()
        };
        (rule.actions.iter().chain(rule.error_action.as_deref()).any(refused)
            || rule.description == "refuse check")
            .then(|| RuleProblem { message: "refused as asked".to_owned(), sql: false })
    }
}

impl Rules for Engine {
    fn check(&self, rule: &Rule) -> Result<(), RuleProblem> {
        Self::problem(rule).map_or(Ok(()), Err)
    }

    fn put(&self, rule: Rule) -> Result<(), RuleProblem> {
        assert!(rule.enabled && rule.sql.is_some());
        self.check(&rule)?;
        if rule.description == "refuse put"
            || rule.actions.iter().any(|a| a.settings.to_string().contains("late"))
        {
            return Err(RuleProblem { message: "refused late".to_owned(), sql: false });
        }
        let Owner::Api(id) = rule.owner else { panic!("a rule of a file in the API") };
        self.running.lock().unwrap().insert(id, rule);
        Ok(())
    }

    fn remove(&self, name: &str) {
        self.running.lock().unwrap().retain(|_, rule| rule.name != name);
    }

    fn name_taken_by_file(&self, name: &str) -> bool {
        name == "from_a_file"
    }

    fn rule(&self, name: &str) -> Option<Arc<Rule>> {
        let running = self.running.lock().unwrap();
        running.values().find(|rule| rule.name == name).cloned().map(Arc::new)
    }

    fn options(&self, data_type: DataType) -> sql::Options {
        sql::Options { data_type, ..sql::Options::default() }
    }
}

/// What happens to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Accept,
    Refuse,
    Full,
    Forget,
}

/// Keeps messages.
pub struct Inbox {
    pub fate: Mutex<Fate>,
    pub messages: Mutex<Vec<Message>>,
    /// What is neither accepted nor refused.
    pub held: Mutex<Vec<Batch>>,
}

impl Inbox {
    fn accepting() -> Self {
        let fate = Mutex::new(Fate::Accept);
        Self { fate, messages: Mutex::default(), held: Mutex::default() }
    }
}

#[async_trait::async_trait]
impl Ingress for Inbox {
    fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        match *self.fate.lock().unwrap() {
            Fate::Full => return Err(batch),
            Fate::Forget => self.held.lock().unwrap().push(batch),
            Fate::Refuse => drop(batch),
            Fate::Accept => {
                self.messages.lock().unwrap().extend(batch.messages);
                batch.ack.accept();
            }
        }
        Ok(())
    }

    async fn ready(&self) {}
}

/// What a server leaves behind: its folder and, when the store is not in it, the schema that it is in.
pub struct Home {
    folder: PathBuf,
    schema: Option<Schema>,
    /// Whether what devices post is kept.
    keeps_history: bool,
}

impl Home {
    /// A fresh folder, and the store in it.
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-api-{}", uuid::Uuid::new_v4()));
        Self { folder, schema: None, keeps_history: true }
    }

    /// The same without a history of devices.
    pub fn without_history() -> Self {
        Self { keeps_history: false, ..Self::new() }
    }

    /// The same with the store in PostgreSQL; `None` when that is not there.
    pub async fn postgres() -> Option<Self> {
        let schema = Some(Schema::new().await?);
        Some(Self { schema, ..Self::new() })
    }

    async fn store(&self) -> Store {
        match &self.schema {
            None => Store::open(&self.folder).await.unwrap(),
            Some(schema) => {
                std::fs::create_dir_all(&self.folder).unwrap();
                let server = store::Server::parse(&schema.url()).unwrap();
                Store::open_postgres(&server, None).await.unwrap()
            }
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub inbox: Arc<Inbox>,
    pub store: Store,
    pub registry: Registry,
    /// Sessions that were ended.
    pub cut: Arc<Mutex<Vec<String>>>,
    pub line: Arc<Line>,
    pub folder: PathBuf,
    pub history: History,
    schema: Option<Schema>,
    stop: ShutdownHandle,
    task: JoinHandle<std::io::Result<()>>,
    /// What writes the history, and what ends it.
    writing: (ShutdownHandle, JoinHandle<()>),
    /// Codes that were answered, over all servers of a test.
    pub codes: Arc<Mutex<BTreeSet<String>>>,
    /// The number of the next connection of a device.
    pub connections: AtomicU64,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A server in a fresh folder whose state a test may change.
    pub async fn with(change: impl FnOnce(&mut ApiState)) -> Self {
        Self::open(Home::new(), change).await
    }

    pub async fn open(home: Home, change: impl FnOnce(&mut ApiState)) -> Self {
        Self::furnished(home, Options::default(), change).await
    }

    /// A server whose devices are treated so.
    pub async fn furnished(
        home: Home,
        mut options: Options,
        change: impl FnOnce(&mut ApiState),
    ) -> Self {
        let store = home.store().await;
        let Home { folder, schema, keeps_history } = home;
        options.files = FileOptions::folder(folder.join("files"), FileLimits::default());
        let engine = Arc::new(Engine::default());
        let inbox = Arc::new(Inbox::accepting());
        let registry = Registry::open(store.clone(), REGISTRY).await.unwrap();
        let cut: Arc<Mutex<Vec<String>>> = Arc::default();
        let cuts = cut.clone();
        let kept = keeps_history.then_some((&store, &*folder, &registry));
        let (history, writing) = keep_history(kept).await;
        options.history = history.clone();
        let (rules, clock): (_, Clock) = (inbox.clone(), Arc::new(|| NOW_MS));
        let things = Things::open(&store, registry.clone(), rules, clock, options).await.unwrap();
        let line = Arc::new(Line::default());
        things.connect(line.clone());
        let forwarder = Forwarder::new(inbox.clone(), things.clone());
        assert!(line.forwarder.set(forwarder).is_ok());
        let mut state = ApiState {
            store: store.clone(),
            registry: registry.clone(),
            things,
            cut: Arc::new(move |session, _| cuts.lock().unwrap().push(session.to_owned())),
            rules: engine.clone(),
            ingress: inbox.clone(),
            file_links: file_links(),
            destinations: destinations(),
            join_permissions: join_permissions(),
            keys: vec![key(Role::Admin), key(Role::Operate), key(Role::Read)],
            nonces: Arc::new(Nonces::open(&folder, NONCES_MAX, NOW_MS).unwrap()),
            require_key: false,
            open_details: false,
            pages: Pages::default(),
            clock: Arc::new(|| NOW_MS),
            ready: Arc::new(Vec::new),
            abnormal: Arc::new(Vec::new),
            promise: PromiseText { short: "a promise", full: "a promise in full" },
            metrics: Arc::new(|| "tidegate_up 1\n".to_owned()),
            spool: Arc::new(tidegate::api::SpoolStatus::default),
            limits: ApiLimits::default(),
        };
        change(&mut state);
        assert_eq!(restore(&state).await.unwrap(), []);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, signal) = shutdown();
        let limits = state.limits;
        let task = tokio::spawn(serve(listener, router(state), limits, signal));
        Self {
            address,
            engine,
            inbox,
            store,
            registry,
            cut,
            line,
            folder,
            schema,
            history,
            stop,
            task,
            writing,
            codes: Arc::default(),
            connections: AtomicU64::new(1),
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.address, key(Role::Admin), self.codes.clone())
    }

    /// Stops it and keeps what it has written.
    pub async fn stop(self) -> Home {
        let Self { folder, schema, store, history, stop, task, .. } = self;
        let (end_history, writing) = self.writing;
        stop.stop();
        task.await.unwrap().unwrap();
        end_history.stop();
        writing.await.unwrap();
        store.close().await;
        Home { folder, schema, keeps_history: history.is_on() }
    }

    /// Stops it and deletes what it has written.
    pub async fn end(self) {
        let home = self.stop().await;
        std::fs::remove_dir_all(home.folder).unwrap();
    }
}

fn file_links() -> FileLinks {
    FileLinks { signer: Signer::new("secret"), url: None, valid: Duration::from_secs(3_600) }
}

fn join_permissions() -> Vec<JoinPermission> {
    let permission = |id: &str, enabled| JoinPermission {
        id: id.to_owned(),
        name: "ForTest".to_owned(),
        class: ClassMode::B,
        kind: JoinType::Local,
        join_eui: Some("d896e0fffe000001".to_owned()),
        enabled,
    };
    vec![permission("8001", true), permission("8002", false)]
}

/// The history of a server's devices, what ends it, and what writes it.
async fn keep_history(
    of: Option<(&Store, &Path, &Registry)>,
) -> (History, (ShutdownHandle, JoinHandle<()>)) {
    let (end, ends) = shutdown();
    let Some((store, folder, registry)) = of else {
        return (History::off(), (end, tokio::spawn(async {})));
    };
    let (settings, clock) = (history::Settings::default(), Arc::new(|| NOW_MS));
    let opened = History::open(store, folder, registry.clone(), settings, clock).await;
    let (history, writer) = opened.unwrap();
    (history, (end, tokio::spawn(writer.run(ends))))
}

fn destinations() -> Destinations {
    let mut connections = Connections::default();
    for (name, kind) in [("k", "kafka"), ("s", "sqlite"), ("p", "postgres")] {
        assert!(connections.insert(name, kind, Arc::new(())));
    }
    let endpoint = |kind: &str, region: &str, instance: &str, connection: &str| Endpoint {
        kind: kind.to_owned(),
        region: region.to_owned(),
        instance: instance.to_owned(),
        connection: Some(connection.to_owned()),
        url: None,
    };
    let call = Endpoint {
        connection: None,
        url: Some("http://127.0.0.1:9/{serviceName}/{functionName}".to_owned()),
        ..endpoint("FC", "*", "weather", "")
    };
    Destinations {
        endpoints: vec![
            endpoint("ONS", "cn-shanghai", "MQ_INST_1", "k"),
            endpoint("ONS", "cn-shanghai", "MQ_GONE", "gone"),
            endpoint("MNS", "*", "mns-test-topic1", "k"),
            endpoint("DATAHUB", "*", "iot_datahub_stream", "k"),
            endpoint("OTS", "*", "testaaa", "s"),
            call,
        ],
        connections: Arc::new(connections),
        topics: TopicLimits::default(),
    }
}
