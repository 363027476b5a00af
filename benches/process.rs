//! A daemon of its own for a bench: the program itself, on free ports, that ends with the bench.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

pub struct Daemon {
    child: Child,
    /// Where it takes MQTT.
    pub mqtt: SocketAddr,
    /// Open, so that the daemon may write on.
    _output: BufReader<ChildStdout>,
}

impl Daemon {
    /// Starts in a folder, with further lines of configuration.
    pub fn start(folder: &Path, config: &str) -> Self {
        let listen = "listen: { mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }";
        std::fs::write(folder.join("tidegate.yaml"), format!("{listen}\n{config}\n"))
            .expect("config");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("--config")
            .arg(folder.join("tidegate.yaml"))
            .arg("run")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("daemon");
        let mut output = BufReader::new(child.stdout.take().expect("output"));
        let address = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let rest = line.trim().strip_prefix("MQTT")?.trim().to_owned();
            rest.split_whitespace().next()?.parse().ok()
        });
        Self { child, mqtt: address.expect("the address of MQTT"), _output: output }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
