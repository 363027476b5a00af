//! The built program as a whole: a daemon of its own per test, on free ports, in a folder of its own.

mod bad_input;
mod device_clients;
mod devices;
mod files;
mod first_hour;
mod gateways;
mod history;
mod listeners;
mod main_job;
mod master_key;
mod postgres_store;
mod reload;
mod shell;
mod spool_status;
mod systems;
pub(crate) mod things;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::program;

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) mqtt: u16,
    pub(crate) http: u16,
    /// The ports of further listeners, by their names in the greeting.
    pub(crate) more: BTreeMap<String, u16>,
    pub(crate) folder: TempDir,
}

/// Free ports, and the rest as a test needs it.
const CONFIG: &str = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\n";

impl Daemon {
    /// A daemon with one rule file.
    pub(crate) fn with_rules(rules: &str) -> Self {
        Self::start("", &[("rules/test.yaml", rules)])
    }

    /// A daemon with further configuration and files.
    pub(crate) fn start(config: &str, files: &[(&str, &str)]) -> Self {
        Self::in_folder(Self::prepared(config, files))
    }

    /// A folder with configuration and files, in which no daemon runs yet.
    pub(crate) fn prepared(config: &str, files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("rules")).expect("rules");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("file");
        }
        std::fs::write(folder.path().join("tidegate.yaml"), format!("{CONFIG}{config}"))
            .expect("configuration");
        folder
    }

    /// A daemon in a folder that has its configuration.
    pub(crate) fn in_folder(folder: TempDir) -> Self {
        let log = std::fs::File::create(folder.path().join("stderr.txt")).expect("log");
        let mut child = Command::new(program())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let (mut mqtt, mut http) = (0, 0);
        let mut more = BTreeMap::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let word = |n: usize| line.split_whitespace().nth(n).unwrap_or_default().to_owned();
            let port = |address: String| address.rsplit(':').next().and_then(|p| p.parse().ok());
            match word(0).as_str() {
                "MQTT" => mqtt = port(word(1)).expect("a port"),
                "HTTP" => http = port(word(1)).expect("a port"),
                "Try," => break,
                name @ ("MQTTS" | "WS" | "WSS") => {
                    let address = word(1);
                    let address = address.trim_end_matches("/mqtt").to_owned();
                    more.insert(name.to_owned(), port(address).expect("a port"));
                }
                _ => {}
            }
        }
        assert!(
            mqtt != 0 && http != 0,
            "the daemon did not start; see its log:\n{}",
            log_of(&folder)
        );
        // Keep reading, so that the daemon never waits for its output.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, mqtt, http, more, folder }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // Written beside and moved: the daemon never reads half a file.
        let half = self.path("half-written");
        std::fs::write(&half, text).expect("written");
        std::fs::rename(half, self.path(name)).expect("moved");
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self) -> String {
        log_of(&self.folder)
    }

    /// Waits until the log holds a text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        eventually(&format!("the log says `{text}`"), || self.log().contains(text).then_some(()));
    }

    /// Waits until a file has `count` lines, and returns them.
    pub(crate) fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let path = self.path(name);
        eventually(&format!("{name} has {count} lines"), || {
            let text = std::fs::read_to_string(&path).ok()?;
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (lines.len() >= count && text.ends_with('\n')).then_some(lines)
        })
    }

    /// `GET` of a path: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        http(
            self.http,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
            b"",
        )
    }

    /// `POST` of a body: status and answer.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> (u16, String) {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        http(self.http, &head, body)
    }

    /// The value of a metric line that starts with `name`, 0 when there is none.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// Resident memory in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Processor time that it has used, in hundredths of a second; unlike time on the clock it does not
    /// count what else the machine does.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the process lives");
        // Behind the name: utime and stime are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(status.expect("kill").success());
    }

    /// Ends the daemon as an operator would, and returns its folder.
    pub(crate) fn stop(mut self) -> TempDir {
        self.signal("TERM");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", self.log());
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("folder"))
    }

    /// Ends the daemon as a power switch would, and returns its folder.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("folder"))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("status").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn log_of(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("stderr.txt")).unwrap_or_default()
}

/// Asks again and again until there is an answer; fails after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// One HTTP request over a connection of its own.
pub(crate) fn http(port: u16, head: &str, body: &[u8]) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(head.as_bytes()).expect("sent");
    // A server that refuses early may close before it has read all.
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

/// Runs a verb of the program in a folder with text on standard input.
pub(crate) fn run(folder: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    use std::io::Write as _;
    let mut child = Command::new(program())
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        stdin.write_all(input.as_bytes()).ok();
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
