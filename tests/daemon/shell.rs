//! `tidegate api` against a running daemon: the examples of its document, and what it says to mistakes.

use std::path::Path;
use std::process::Command;

use super::{Daemon, run};
use crate::program;

/// The commands and outputs of all `console` blocks of a document, in order.
fn examples(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("the end of a block");
        for line in block.lines() {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, None) => panic!("a command comes first: {line}"),
            }
        }
    }
    found
}

/// True when a text is as it is written; `…` stands for any characters of a line.
fn fits(written: &str, text: &str) -> bool {
    let pattern: Vec<_> = written.split('…').map(regex::escape).collect();
    let pattern = format!("^{}$", pattern.join("[^\\n]*"));
    regex::Regex::new(&pattern).expect("a pattern").is_match(text)
}

/// A daemon, and beside its configuration one that names the port that it got.
fn daemon() -> Daemon {
    let daemon = Daemon::with_rules("rules: []\n");
    let config = format!("listen: {{ http: \"127.0.0.1:{}\" }}\n", daemon.http);
    std::fs::write(daemon.folder.path().join("here.yaml"), config).expect("configuration");
    daemon
}

#[test]
fn the_documents_examples_run() {
    let text = include_str!("../../docs/shell.md");
    let daemon = daemon();
    let folder = Path::new(program()).parent().expect("a folder").display();
    let mut script = format!(
        "PATH=\"{folder}:$PATH\"\ntidegate() {{ command tidegate --config here.yaml \"$@\"; }}\n"
    );
    let examples = examples(text);
    for (command, _) in &examples {
        // A line between the outputs that none of them has.
        script.push_str(&format!("{command}\nprintf '\\001\\n'\n"));
    }
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(daemon.folder.path())
        .env_remove("TIDEGATE_ACCESS_KEY_ID")
        .output()
        .expect("a shell");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let outputs: Vec<_> = out.split("\u{1}\n").collect();
    assert_eq!(outputs.len(), examples.len() + 1, "{out}{err}");
    assert!(examples.len() > 15);
    for ((command, want), have) in examples.iter().zip(outputs) {
        assert!(fits(want, have), "$ {command}\n{have}\nexpected:\n{want}\n{err}");
    }
    // Only the refusal that is shown.
    assert_eq!(err.matches("\"Success\": false").count(), 1, "{err}");
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let daemon = daemon();
    let api = |words: &[&str]| {
        run(daemon.folder.path(), &[&["--config", "here.yaml", "api"], words].concat(), "")
    };
    for (words, code, part) in [
        (&[][..], 2, "which operation?"),
        (&["QueryDevices"], 2, "did you mean QueryDevice?"),
        (&["CreateProduct", "--NodeType", "0"], 2, "needs --ProductName too"),
        (&["QueryProduct", "--ProductKy", "x"], 2, "did you mean --ProductKey?"),
        (&["QueryProduct", "--ProductKey", "a1unknown00"], 1, "iot.prod.NotExistedProduct"),
        (&["QueryProduct", "--ProductKey", "x", "--to", "127.0.0.1:1"], 1, "is it running?"),
        (&["QueryDeviceGroupList", "--get", "Nothing"], 1, "the answer has nothing at `Nothing`"),
    ] {
        let (have, _, err) = api(words);
        assert!(have == code && err.contains(part), "{words:?}: {have} {err}");
    }
    let (code, out, _) = api(&["--help"]);
    assert!(code == 0 && out.contains("Device groups:\n  CreateDeviceGroup\n"), "{out}");
    let (code, out, _) = api(&["RegisterDevice", "--help"]);
    assert!(code == 0 && out.contains("  --ProductKey              needed\n"), "{out}");
    // The signed request that is printed is good once.
    let (_, out, _) = api(&["QueryDeviceGroupList", "--GroupName", "hall_2", "--curl"]);
    let target =
        out.trim_end().strip_prefix("curl 'http://").and_then(|url| url.strip_suffix('\''));
    let (_, target) = target.and_then(|url| url.split_once('/')).expect("a URL");
    let (status, body) = daemon.get(&format!("/{target}"));
    assert!(status == 200 && body.contains("\"Total\":0"), "{body}");
    let (status, body) = daemon.get(&format!("/{target}"));
    assert!(status == 400 && body.contains("SignatureNonceUsed"), "{body}");
}
