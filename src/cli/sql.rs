//! `tidegate sql`: one statement over payloads from standard input or a file.

use std::io::{BufRead, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connectors::contract::{Body, Message, NoFacts, Topic, now_ms};
use serde_json::json;

use super::{Outcome, refused, usage};
use crate::config::Config;
use crate::sql::{DataType, Explanation, Input, Options, Plan, Query, Scratch};

/// Arguments of `sql`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The statement, such as `SELECT a FROM "t/+" WHERE a > 1`.
    statement: String,
    /// The topic that the payloads were published to. Without it the topic filter is not checked and
    /// functions of the topic are MISSING.
    #[arg(long)]
    topic: Option<String>,
    /// Print one JSON object per payload: matched, records, errors.
    #[arg(long)]
    json: bool,
    /// Say what the statement is compiled to, and for each payload the value of every part and why
    /// the rule fires or not.
    #[arg(long)]
    explain: bool,
    /// One whole payload from a file, `-` for standard input, instead of one per line.
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// How payloads are read.
    #[arg(long, default_value = "json")]
    data_type: Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Data {
    Json,
    Binary,
}

/// The topic that stands for no topic; functions of the topic do not see it.
const NO_TOPIC: &str = "-";

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    let options = Options {
        data_type: match args.data_type {
            Data::Json => DataType::Json,
            Data::Binary => DataType::Binary,
        },
        time_zone: config.zone().map_err(|error| usage(anyhow::anyhow!(error)))?,
        limits: config.limits.sql,
        topic_limits: config.limits.topic(),
    };
    let query = Arc::new(Query::compile(&args.statement, &options).map_err(refused)?);
    // An explanation says them itself.
    for warning in query.warnings().iter().filter(|_| !args.explain) {
        eprintln!("{warning}");
    }
    let explanation = match args.explain {
        true => Some(Explanation::new(&args.statement, &options).map_err(refused)?),
        false => None,
    };
    let topic = Topic::parse(
        args.topic.clone().unwrap_or_else(|| NO_TOPIC.to_owned()),
        config.limits.topic(),
    )
    .map_err(|error| usage(anyhow::anyhow!("--topic: {error}")))?;
    let has_topic = args.topic.is_some();
    let runner = Runner {
        matches: !has_topic || query.matches(&topic),
        plan: Plan::new(vec![Arc::clone(&query)]),
        query,
        explanation,
        topic,
        has_topic,
        json: args.json,
        payload_max: config.limits.payload,
    };
    match runner.run(args.payload_file.as_deref()) {
        // A reader that closes the pipe has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(()),
        done => done.map_err(refused),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

struct Runner {
    query: Arc<Query>,
    explanation: Option<Explanation>,
    plan: Plan,
    topic: Topic,
    has_topic: bool,
    matches: bool,
    json: bool,
    payload_max: usize,
}

/// What one payload came to.
#[derive(Default)]
struct Answer {
    records: Vec<String>,
    errors: Vec<serde_json::Value>,
}

impl Runner {
    fn run(&self, file: Option<&Path>) -> anyhow::Result<()> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut scratch = Scratch::default();
        if let Some(explanation) = &self.explanation {
            self.describe(explanation, &mut out)?;
        }
        match file {
            Some(path) => {
                let payload = read_whole(path, self.payload_max)?;
                self.answer(1, payload, &mut scratch, &mut out)?;
            }
            // Nobody types payloads to have a statement explained.
            None if self.explanation.is_some() && std::io::stdin().is_terminal() => {}
            None => {
                let mut input = std::io::stdin().lock();
                let mut line = Vec::new();
                let mut id = 0;
                while input.read_until(b'\n', &mut line)? > 0 {
                    id += 1;
                    let ends = |end: &u8| matches!(end, b'\n' | b'\r');
                    while line.last().is_some_and(ends) {
                        line.pop();
                    }
                    self.answer(id, std::mem::take(&mut line), &mut scratch, &mut out)?;
                }
            }
        }
        Ok(out.flush()?)
    }

    fn answer(
        &self,
        id: u64,
        payload: Vec<u8>,
        scratch: &mut Scratch,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        if let Some(explanation) = &self.explanation {
            return self.explain(explanation, id, payload, scratch, out);
        }
        let answer = self.evaluate(id, payload, scratch);
        if self.json {
            let matched = !answer.records.is_empty();
            let records = answer.records.join(",");
            let errors = serde_json::Value::from(answer.errors);
            writeln!(out, "{{\"matched\":{matched},\"records\":[{records}],\"errors\":{errors}}}")?;
            return Ok(());
        }
        for error in &answer.errors {
            let message = error.get("message").and_then(|text| text.as_str()).unwrap_or_default();
            eprintln!("payload {id}: {message}");
        }
        match answer.records.as_slice() {
            [] => writeln!(out, "(no match)")?,
            records => records.iter().try_for_each(|record| writeln!(out, "{record}"))?,
        }
        Ok(())
    }

    /// Prints what the statement is compiled to.
    fn describe(&self, explanation: &Explanation, out: &mut impl Write) -> anyhow::Result<()> {
        let plan = explanation.plan();
        if self.json {
            writeln!(out, "{}", json!({ "plan": plan }))?;
        } else {
            write!(out, "{plan}")?;
        }
        Ok(())
    }

    /// Prints what the statement makes of a payload.
    fn explain(
        &self,
        explanation: &Explanation,
        id: u64,
        payload: Vec<u8>,
        scratch: &mut Scratch,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        if payload.len() > self.payload_max {
            anyhow::bail!(
                "payload {id} has {} bytes, at most {} are read (`limits.payload`)",
                payload.len(),
                self.payload_max
            );
        }
        let mut message = Message::new(self.topic.clone(), Bytes::from(payload), now_ms());
        message.id = id;
        let input =
            Input { message: &message, facts: &NoFacts, rule: "sql", has_topic: self.has_topic };
        let report = explanation.message(&input, scratch);
        if self.json {
            writeln!(out, "{{\"message\":{}}}", serde_json::to_string(&report)?)?;
        } else {
            write!(out, "\npayload {id} {report}")?;
        }
        Ok(())
    }

    fn evaluate(&self, id: u64, payload: Vec<u8>, scratch: &mut Scratch) -> Answer {
        let mut answer = Answer::default();
        if payload.len() > self.payload_max {
            let message = format!(
                "the payload has {} bytes, at most {} are read (`limits.payload`)",
                payload.len(),
                self.payload_max
            );
            answer.errors.push(error("payload_too_large", &message, None));
            return answer;
        }
        if !self.matches {
            return answer;
        }
        let mut message = Message::new(self.topic.clone(), Bytes::from(payload), now_ms());
        message.id = id;
        if self.query.data_type() == DataType::Json
            && let Err(invalid) = self.plan.prepare(&message.payload, scratch)
        {
            answer.errors.push(error("invalid_payload", &invalid.to_string(), None));
            return answer;
        }
        let input =
            Input { message: &message, facts: &NoFacts, rule: "sql", has_topic: self.has_topic };
        let mut bytes = Vec::new();
        let verdict = self.plan.evaluate(0, &input, &message.payload, scratch, &mut bytes);
        for found in scratch.errors() {
            answer.errors.push(error(found.code, &found.message, Some(&found.item)));
        }
        for (body, place) in verdict.records(scratch, 0..bytes.len()) {
            let record = &bytes[place];
            answer.records.push(match body {
                // Outside of strings line feeds are white space: one record is one line.
                Body::Json => String::from_utf8_lossy(record).replace(['\n', '\r'], " "),
                Body::Binary => json!({ "base64": STANDARD.encode(record) }).to_string(),
            });
        }
        answer
    }
}

fn error(code: &str, message: &str, item: Option<&str>) -> serde_json::Value {
    json!({ "code": code, "message": message, "item": item })
}

fn read_whole(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    // One byte more than allowed is read, so that what is too long is seen to be.
    let most = most as u64 + 1;
    let mut payload = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut payload)?;
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
        file.take(most).read_to_end(&mut payload)?;
    }
    Ok(payload)
}
