//! `tidegate tap`: watch messages, or one rule's results, live.
//!
//! A rule's results are made here, by its own statement over the messages that the broker passes on:
//! the daemon is not asked, and works no more for it than for any other subscriber.

use std::io::Write as _;
use std::sync::Arc;

use connectors::contract::{Message, NoFacts, QoS, Topic, TopicFilter, now_ms};

use super::publish::{Login, single_thread};
use super::{NoPublisher, Outcome, compiler, refused, rule_paths, usage};
use crate::broker::codec::Publish;
use crate::config::Config;
use crate::rule::file;
use crate::sql::{DataType, Input, Plan, Query, Scratch};
use crate::thing;

/// Arguments of `tap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic filter.
    #[arg(default_value = "#")]
    filter: String,
    /// Show what this rule of the configured folder selects, instead of the messages.
    #[arg(long, value_name = "NAME", conflicts_with = "filter")]
    rule: Option<String>,
    /// End after this many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    login: Login,
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    let parse = |text: &str| {
        TopicFilter::parse(text.to_owned(), config.limits.topic())
            .map_err(|error| usage(anyhow::anyhow!("topic filter `{text}`: {error}")))
    };
    let (filters, mut results) = match &args.rule {
        None => (vec![parse(&args.filter)?], None),
        Some(name) => {
            let query = query_of(name, config)?;
            let filter = query.filter().as_str();
            // System topics have two spellings, and devices use the one with `/sys`.
            let filters = vec![parse(filter)?, parse(&format!("/sys{filter}"))?];
            (filters, Some(Results::new(name, query)))
        }
    };
    let show = |message: &Publish| match &mut results {
        None => Some(format!("{} {}", message.topic, shown(&message.payload))),
        Some(results) => results.of(message, config),
    };
    single_thread(tap(args, config, &filters, show)).map_err(refused)
}

/// The statement of a rule of the configured folder.
fn query_of(name: &str, config: &Config) -> Result<Arc<Query>, super::Failure> {
    let compiler = compiler(config, Some(Arc::new(NoPublisher))).map_err(refused)?;
    for path in rule_paths(&[], config)? {
        // What is wrong with other rules is the business of `check`.
        let file = file::load(&path, &compiler).unwrap_or_default();
        let wrong = file.refused.iter().find(|rule| rule.name.as_deref() == Some(name));
        if let Some(problem) = wrong.and_then(|rule| rule.problems.first()) {
            return Err(refused(problem.clone()));
        }
        for rule in file.rules {
            if rule.compiled.rule.name == name {
                let missing = || usage(anyhow::anyhow!("rule `{name}` has no statement"));
                return rule.compiled.query.ok_or_else(missing);
            }
        }
    }
    let folder = config.path(&config.rules);
    Err(usage(anyhow::anyhow!("there is no rule `{name}` in {}", folder.display())))
}

/// A rule's statement and what it needs to run.
struct Results {
    rule: String,
    query: Arc<Query>,
    plan: Plan,
    scratch: Scratch,
    seen: u64,
}

impl Results {
    fn new(rule: &str, query: Arc<Query>) -> Self {
        let plan = Plan::new(vec![Arc::clone(&query)]);
        Self { rule: rule.to_owned(), query, plan, scratch: Scratch::default(), seen: 0 }
    }

    /// The records that the rule selects from a message, a line for each.
    fn of(&mut self, message: &Publish, config: &Config) -> Option<String> {
        let topic = Topic::parse(message.topic.clone(), config.limits.topic()).ok()?;
        let mut message = Message::new(topic, message.payload.clone(), now_ms());
        thing::forward(&mut message);
        self.seen += 1;
        message.id = self.seen;
        let json = self.query.data_type() == DataType::Json;
        let valid = !json || self.plan.prepare(&message.payload, &mut self.scratch).is_ok();
        if !valid || !self.query.matches(&message.topic) {
            return None;
        }
        let input = Input { message: &message, facts: &NoFacts, rule: &self.rule, has_topic: true };
        let mut out = Vec::new();
        let verdict = self.plan.evaluate(0, &input, &message.payload, &mut self.scratch, &mut out);
        let records = verdict.records(&self.scratch, 0..out.len());
        let lines: Vec<String> =
            records.map(|(_, place)| format!("{} {}", message.topic, shown(&out[place]))).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// Prints a line for each message that `show` makes one of.
async fn tap(
    args: &Args,
    config: &Config,
    filters: &[TopicFilter],
    mut show: impl FnMut(&Publish) -> Option<String>,
) -> anyhow::Result<()> {
    let mut client = args.login.connect(config).await?;
    for filter in filters {
        client.subscribe(filter, QoS::AtMostOnce).await?;
    }
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let message = client.next().await?;
        let Some(line) = show(&message) else { continue };
        seen += 1;
        let mut out = std::io::stdout().lock();
        match out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            result => result?,
        }
    }
    client.disconnect().await?;
    Ok(())
}

/// Text as it is; other bytes as hexadecimal.
fn shown(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", hex::encode(payload)),
    }
}
