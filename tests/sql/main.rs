//! The SQL language: cases as text in `tests/sql/*.slt`, the functions' examples, hostile input and
//! generated documents.
//!
//! A file holds blocks, separated by blank lines:
//!
//! ```text
//! # A comment.
//! sql SELECT a AS x          -- starts a block; further lines may follow, indented
//!   FROM "t" WHERE a > 1
//! topic /pk/dn/user/data     -- optional settings of the block
//! time 1543373798943
//! id 7
//! zone Asia/Shanghai
//! tag location=floor 2
//! binary
//! no-topic
//! work 400000000              -- the budget in units; else there is no end of it
//! set client=dev1             -- how the message came in: client, user, ip, source, qos, retain, hops,
//! set property.region=north   -- user properties, content-type, response-topic, correlation
//! payload {"a": 2}           -- then any number of payloads with what they give
//! => {"x":2}
//! payload {"a": 1}
//! => filtered
//! ```
//!
//! What a payload gives is the record (with UNNEST several, a line each), `filtered`, `aborted` or
//! `invalid: …`, then lines `! item: message` for the errors of the evaluation. `\xNN` in a payload is a byte, `\\` a backslash, for
//! payloads that start with `~`. A record of bytes is shown in hexadecimal after `binary`. A block
//! without payload is only compiled: `=> ok`, or `=> error: …` as users see it; `? …` lines are
//! warnings. Instead of `sql` a block may start with `select`, then `from` and optionally `where`
//! lines: a statement in parts.
//!
//! `UPDATE_EXPECT=1` writes what comes out into the files; read the difference before committing it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::{Body, DeviceFacts, Message, Origin, QoS, Topic, TopicLimits};
use sql::{DataType, Input, Limits, Options, Plan, Query, Scratch, Verdict};

mod budget;
mod counts;
mod depends;
mod explaining;

mod extremes;
mod hard;
mod hostile;
mod hostile_array;
mod keywords;
mod linear;
mod matrix;
mod naive;
mod paths;
mod peers;
mod printing;
mod properties;

/// Tags of the block's device.
struct Tags(Vec<(String, String)>);

impl DeviceFacts for Tags {
    fn tag(&self, _: &str, _: &str, key: &str) -> Option<String> {
        self.0.iter().find(|(have, _)| have == key).map(|(_, value)| value.clone())
    }
}

/// One block of a file.
#[derive(Default)]
struct Block {
    line: usize,
    sql: Option<String>,
    parts: [Option<String>; 3],
    topic: Option<String>,
    time: u64,
    id: u64,
    zone: Option<String>,
    rule: Option<String>,
    tags: Vec<(String, String)>,
    binary: bool,
    no_topic: bool,
    work: Option<u64>,
    set: Vec<(String, String)>,
    payloads: Vec<String>,
}

impl Block {
    fn read(lines: &[(usize, &str)]) -> Self {
        let mut block =
            Self { line: lines[0].0, time: 1_543_373_798_943, id: 1, ..Self::default() };
        for (number, line) in lines {
            if let Some(more) = line.strip_prefix("  ") {
                let text = block.sql.as_mut().expect("an indented line continues `sql`");
                text.push('\n');
                text.push_str(more);
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.to_owned();
            match word {
                "sql" => block.sql = Some(rest),
                "select" => block.parts[0] = Some(rest),
                "from" => block.parts[1] = Some(rest),
                "where" => block.parts[2] = Some(rest),
                "topic" => block.topic = Some(rest),
                "time" => block.time = rest.parse().expect("milliseconds"),
                "id" => block.id = rest.parse().expect("a number"),
                "zone" => block.zone = Some(rest),
                "tag" => {
                    let (key, value) = rest.split_once('=').expect("tag key=value");
                    block.tags.push((key.into(), value.into()));
                }
                "set" => {
                    let (key, value) = rest.split_once('=').expect("set key=value");
                    block.set.push((key.into(), value.into()));
                }
                "binary" => block.binary = true,
                "no-topic" => block.no_topic = true,
                "work" => block.work = Some(rest.parse().expect("units")),
                "payload" => block.payloads.push(rest),
                "=>" | "!" | "?" => {}
                other => panic!("line {number}: unknown word `{other}`"),
            }
        }
        block
    }

    fn options(&self) -> Options {
        let zone = self.zone.as_deref().unwrap_or("Asia/Shanghai");
        Options {
            data_type: if self.binary { DataType::Binary } else { DataType::Json },
            time_zone: jiff::tz::TimeZone::get(zone).expect("a time zone"),
            limits: Limits { work: self.work.unwrap_or(u64::MAX), ..Limits::default() },
            ..Options::default()
        }
    }

    /// The lines that the block should hold behind its statement.
    fn run(&self) -> Vec<String> {
        let options = self.options();
        let query = match (&self.sql, &self.parts) {
            (Some(sql), _) => Query::compile(sql, &options),
            (None, [Some(select), Some(from), filter]) => {
                Query::from_parts(select, from, filter.as_deref(), &options)
            }
            _ => panic!("line {}: a block starts with `sql` or `select` and `from`", self.line),
        };
        let query = match query {
            Ok(query) => Arc::new(query),
            Err(mistakes) => {
                let told = mistakes.all().inspect(|error| {
                    let advice = error.expected.is_some() && error.hint.is_some();
                    assert!(advice, "no advice: {error}");
                });
                return told.map(|error| format!("=> error: {error}")).collect();
            }
        };
        let mut lines: Vec<String> =
            query.warnings().iter().map(|warning| format!("? {warning}")).collect();
        if self.payloads.is_empty() {
            lines.push("=> ok".into());
        }
        let plan = Plan::new(vec![query]);
        let mut scratch = Scratch::new();
        for payload in &self.payloads {
            lines.push(format!("payload {payload}"));
            self.evaluate(&plan, payload, &mut scratch, &mut lines);
        }
        lines
    }

    fn evaluate(&self, plan: &Plan, payload: &str, scratch: &mut Scratch, lines: &mut Vec<String>) {
        let payload = bytes(payload);
        let topic = self.topic.as_deref().unwrap_or("/a1Pk/dev1/user/data");
        let topic = Topic::parse(topic.to_owned(), TopicLimits::default()).expect("a topic");
        let mut message = Message::new(topic, payload.clone(), self.time);
        message.id = self.id;
        for (key, value) in &self.set {
            set(&mut message, key, value);
        }
        let input = Input {
            message: &message,
            facts: &Tags(self.tags.clone()),
            rule: self.rule.as_deref().unwrap_or("rule"),
            has_topic: !self.no_topic,
        };
        if !self.binary
            && let Err(invalid) = plan.prepare(&payload, scratch)
        {
            lines.push(format!("=> invalid: {invalid}"));
            return;
        }
        let mut out = b"kept".to_vec();
        let verdict = plan.evaluate(0, &input, &payload, scratch, &mut out);
        assert!(out.starts_with(b"kept"), "evaluate only appends");
        let mut end = 4;
        for (body, place) in verdict.records(scratch, 4..out.len()) {
            assert_eq!(place.start, end, "line {}: records follow each other", self.line);
            end = place.end;
            lines.push(match body {
                Body::Json => {
                    format!("=> {}", std::str::from_utf8(&out[place]).expect("JSON is UTF-8"))
                }
                Body::Binary => format!("=> binary {}", hex::encode(&out[place])),
            });
        }
        match verdict {
            Verdict::Selected(_) | Verdict::Unnested => {}
            Verdict::Filtered => lines.push("=> filtered".into()),
            Verdict::Aborted => lines.push("=> aborted".into()),
        }
        assert_eq!(end, out.len(), "line {}: nothing else is appended", self.line);
        lines.extend(scratch.errors().iter().map(|e| format!("! {} ({})", e, e.code)));
    }
}

/// Sets how a message came in.
fn set(message: &mut Message, key: &str, value: &str) {
    let mut origin = Origin::clone(&message.origin);
    let mut headers = message.headers.as_deref().cloned().unwrap_or_default();
    match key {
        "client" => origin.client_id = Some(value.into()),
        "user" => origin.username = Some(value.into()),
        "ip" => origin.peer = Some(value.parse().expect("an address")),
        "source" => origin.source = Some(value.into()),
        "qos" => {
            message.qos = QoS::try_from(value.parse::<u8>().expect("a level")).expect("a level")
        }
        "retain" => message.retain = value == "true",
        "hops" => message.hops = value.parse().expect("a number"),
        "content-type" => headers.content_type = Some(value.into()),
        "response-topic" => headers.response_topic = Some(value.into()),
        "correlation" => headers.correlation_data = Some(bytes(value).into()),
        _ => {
            let key = key.strip_prefix("property.").expect("a word that `set` knows");
            let list = message.properties.iter().flat_map(|list| list.iter().cloned());
            message.properties = Some(list.chain([(key.into(), value.into())]).collect());
        }
    }
    message.origin = Arc::new(origin);
    if headers != Default::default() {
        message.headers = Some(Arc::new(headers));
    }
}

/// The bytes of a payload.
fn bytes(text: &str) -> Vec<u8> {
    let Some(text) = text.strip_prefix('~') else { return text.as_bytes().to_vec() };
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let mut take = |count| chars.by_ref().take(count).collect::<String>();
        match char {
            '\\' if take(1) == "x" => {
                out.push(u8::from_str_radix(&take(2), 16).expect("two hexadecimal digits"));
            }
            '\\' => out.push(b'\\'),
            _ => out.extend_from_slice(char.to_string().as_bytes()),
        }
    }
    out
}

/// Runs a file; returns the text that it should have, its cases and its failures.
fn run(path: &Path) -> (String, usize, Vec<String>) {
    let text = std::fs::read_to_string(path).expect("a test file");
    let name = path.file_name().expect("a name").to_string_lossy();
    let mut want = String::new();
    let mut cases = 0;
    let mut failures = Vec::new();
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
    while let Some(&(_, line)) = lines.peek() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(want, "{line}").expect("a string");
            lines.next();
            continue;
        }
        let mut block = Vec::new();
        while let Some(line) = lines.next_if(|(_, line)| !line.is_empty()) {
            block.push(line);
        }
        let result = Block::read(&block).run();
        cases += result.iter().filter(|line| line.starts_with("=>")).count();
        let is_result =
            |line: &str| ["=>", "!", "?", "payload "].iter().any(|start| line.starts_with(start));
        let (have, head): (Vec<_>, Vec<_>) = block.iter().partition(|(_, line)| is_result(line));
        for (_, line) in &head {
            writeln!(want, "{line}").expect("a string");
        }
        for (at, line) in result.iter().enumerate() {
            writeln!(want, "{line}").expect("a string");
            let (number, found) = have.get(at).copied().unwrap_or((block[0].0, ""));
            if found != line {
                failures.push(format!("{name}:{number}\n  have {found}\n  got  {line}"));
            }
        }
        if have.len() > result.len() {
            failures.push(format!("{name}:{}: more lines than results", block[0].0));
        }
    }
    (want, cases, failures)
}

#[test]
fn statements_do_what_their_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    files.sort();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut cases = 0;
    let mut failures = Vec::new();
    for file in &files {
        let (want, count, failed) = run(file);
        println!("{}: {count} cases, {} failures", file.display(), failed.len());
        if update && !failed.is_empty() {
            std::fs::write(file, want).expect("write the file");
        } else {
            failures.extend(failed);
        }
        cases += count;
    }
    println!("{} files, {cases} cases", files.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(cases >= 350, "only {cases} cases");
}

#[test]
fn the_examples_of_all_functions_hold() {
    let mut count = 0;
    let mut failures = Vec::new();
    for function in sql::functions::FUNCTIONS {
        for example in function.examples {
            let block = Block {
                sql: Some(format!("SELECT {} AS r FROM \"#\"", example.sql)),
                time: 1_543_373_798_943,
                id: 889_455_942_124_347_392,
                tags: vec![("location".into(), "西溪湿地-洪园".into())],
                set: [
                    ("client", "client-1"),
                    ("user", "user-1"),
                    ("ip", "192.0.2.7"),
                    ("source", "mqtt"),
                    ("qos", "1"),
                    ("property.region", "north"),
                    ("property.tag", "a"),
                    ("property.tag", "b"),
                    ("content-type", "application/json"),
                    ("response-topic", "/a1Pk/dev1/user/answer"),
                    ("correlation", r"~\x07\xff"),
                ]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
                payloads: vec![example.payload.into()],
                ..Block::default()
            };
            let lines = block.run();
            let got = lines.iter().find(|line| line.starts_with("=>")).expect("a result");
            let want = match example.result {
                Some(result) => format!("=> {{\"r\":{result}}}"),
                None => "=> {}".into(),
            };
            if got != &want {
                failures.push(format!("{} over {}: {lines:?}", example.sql, example.payload));
            }
            count += 1;
        }
    }
    println!("{count} examples");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
