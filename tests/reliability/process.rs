//! The daemon as a process that is started, killed and started again over one folder, also under
//! another program (`strace`, `unshare`), and what it says about itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::program;

/// The longest that a test waits for anything that has no time of its own. A destination that was down
/// for long is tried once a minute.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// A folder with configuration, rules and data, which outlives its daemons.
pub(super) struct Site {
    folder: TempDir,
}

/// A daemon that did not start, or has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code; none after a signal.
    pub(super) code: Option<i32>,
    /// How long it ran.
    pub(super) took: Duration,
}

/// A daemon that serves.
pub(super) struct Process {
    child: Child,
    pub(super) mqtt: u16,
    pub(super) http: u16,
    /// From its start until it served.
    pub(super) took: Duration,
}

impl Site {
    /// With further configuration, and one rule file.
    pub(super) fn new(config: &str, rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let site = Self { folder };
        std::fs::create_dir(site.path("rules")).expect("rules");
        let listen = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n";
        site.write("tidegate.yaml", &format!("{listen}{config}"));
        site.write("rules/test.yaml", rules);
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as a whole: the daemon never reads half of it.
    pub(super) fn write(&self, name: &str, text: &str) {
        let half = self.path("half-written");
        std::fs::write(&half, text).expect("written");
        std::fs::rename(half, self.path(name)).expect("moved");
    }

    /// What all daemons have logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.path("stderr.txt")).unwrap_or_default()
    }

    /// The last lines of the log, for failures.
    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Starts a daemon and waits until it serves.
    pub(super) async fn start(&self) -> Process {
        self.start_under(&[]).await
    }

    /// The same under another program, which must end by becoming the daemon.
    pub(super) async fn start_under(&self, prefix: &[&str]) -> Process {
        match self.try_start(prefix).await {
            Ok(process) => process,
            Err(ended) => panic!("it does not start: {ended:?}\n{}", self.last_words()),
        }
    }

    /// Starts a daemon, and waits until it serves or has ended.
    pub(super) async fn try_start(&self, prefix: &[&str]) -> Result<Process, Ended> {
        let began = Instant::now();
        let mut child = self.spawn(prefix);
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let (mut mqtt, mut http) = (0, 0);
        loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            let Some(line) = line.expect("a line in time").expect("readable") else {
                let status = child.wait().await.expect("it ends");
                return Err(Ended { code: status.code(), took: began.elapsed() });
            };
            let mut words = line.split_whitespace();
            let (first, second) = (words.next(), words.next().unwrap_or_default());
            let port = second.rsplit(':').next().and_then(|port| port.parse().ok());
            match first {
                Some("MQTT") => mqtt = port.expect("a port"),
                Some("HTTP") => http = port.expect("a port"),
                Some("Try,") => break,
                _ => {}
            }
        }
        let took = began.elapsed();
        // Somebody keeps reading, so that the daemon never waits for its output.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Process { child, mqtt, http, took })
    }

    /// Starts a daemon and kills it after a moment, ready or not.
    pub(super) async fn start_and_kill(&self, after: Duration) {
        let mut child = self.spawn(&[]);
        tokio::time::sleep(after).await;
        child.kill().await.expect("killed");
    }

    fn spawn(&self, prefix: &[&str]) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.path("stderr.txt"));
        let mut command = match prefix.split_first() {
            None => Command::new(program()),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program());
                command
            }
        };
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("log"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }

    /// Runs a verb of the program: exit code, output, how long it took.
    pub(super) async fn run(&self, args: &[&str]) -> (i32, String, Duration) {
        let began = Instant::now();
        let mut command = Command::new(program());
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.expect("the program runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.code().unwrap_or(-1), text, began.elapsed())
    }
}

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("status").is_none()
    }

    /// Ends it without warning.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Sends a signal by name.
    pub(super) async fn signal(&self, name: &str) {
        let (signal, id) = (format!("-{name}"), self.id().to_string());
        let status = Command::new("kill").args([&signal, &id]).status().await;
        assert!(status.expect("kill").success());
    }

    /// Ends it as an operator would.
    pub(super) async fn stop(mut self) -> Ended {
        let began = Instant::now();
        self.signal("TERM").await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends in time").expect("status");
        Ended { code: status.code(), took: began.elapsed() }
    }

    /// `GET` of a path: status and body.
    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.http)).await?;
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, ask).await.expect("in time").expect("answered");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    }

    pub(super) async fn metrics(&self) -> Metrics {
        let (_, text) = self.get("/metrics").await;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Metrics(values.collect())
    }

    /// Waits until nothing is on its way any more, and checks the balance of all rules and actions.
    pub(super) async fn balanced(&self) -> Metrics {
        let began = Instant::now();
        loop {
            let metrics = self.metrics().await;
            let busy =
                metrics.sum("tidegate_messages_queued") + metrics.sum("tidegate_action_queued");
            if busy == 0 {
                metrics.check();
                return metrics;
            }
            assert!(began.elapsed() < PATIENCE, "{busy} are still on their way: {metrics:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A line of `/proc/<id>/status` in KiB, such as `VmRSS` or `VmHWM`.
    pub(super) fn memory_kib(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("runs");
        let line = status.lines().find(|found| found.starts_with(line)).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

/// What `/metrics` showed, by series.
#[derive(Debug)]
pub(super) struct Metrics(BTreeMap<String, u64>);

impl Metrics {
    /// The sum of all series whose text starts so.
    pub(super) fn sum(&self, start: &str) -> u64 {
        self.0.iter().filter(|(series, _)| series.starts_with(start)).map(|(_, value)| value).sum()
    }

    /// received = selected + filtered + invalid + aborted for each rule, and received = delivered +
    /// failed + queued for each action: nothing is counted twice or not at all.
    fn check(&self) {
        let mut checked = 0;
        for (series, received) in &self.0 {
            let of = |name: &str, labels: &str| self.0.get(&format!("tidegate_{name}{labels}"));
            if let Some(labels) = series.strip_prefix("tidegate_rule_received_total") {
                let parts = ["selected", "filtered", "invalid_payload", "aborted"];
                let parts = parts.map(|part| of(&format!("rule_{part}_total"), labels).copied());
                assert_eq!(
                    *received,
                    parts.into_iter().flatten().sum::<u64>(),
                    "{labels}: {self:#?}"
                );
                checked += 1;
            }
            if let Some(labels) = series.strip_prefix("tidegate_action_received_total") {
                let parts = ["delivered_total", "failed_total", "queued"];
                let parts = parts.map(|part| of(&format!("action_{part}"), labels).copied());
                assert_eq!(
                    *received,
                    parts.into_iter().flatten().sum::<u64>(),
                    "{labels}: {self:#?}"
                );
                checked += 1;
            }
        }
        assert!(checked > 0, "there is something to balance: {self:#?}");
    }
}

/// Whether a program can be used here; says so by name when it can't.
pub(super) async fn usable(what: &str, command: &[&str]) -> bool {
    let mut probe = Command::new(command[0]);
    probe.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let usable = probe.status().await.is_ok_and(|status| status.success());
    if !usable {
        eprintln!("skipped: {what} (not usable here)");
    }
    usable
}
