//! Statements in words over HTTP: `POST /explain`, what `tidegate sql --explain` is on the command
//! line.
//!
//! It shows statements of rules, hence it needs an access key wherever the listener is. It changes
//! nothing and sends nothing on.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::{Message, NoFacts, Topic};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::aliyun::rules::running::statement;
use crate::api::exchange::body::body;
use crate::api::exchange::key::identify;
use crate::api::exchange::refusal::{Refusal, json_text, refuse};
use crate::api::state::Api;
use crate::api::state::limits::EXPLAINED_AT_ONCE;
use crate::rule::store::Role;
use crate::rule::{DataType, Statement};
use crate::sql::explain::{MessageReport, PlanReport};
use crate::sql::{self, Input, Scratch};

/// The topic of a message that has none; functions of the topic do not see it.
const NO_TOPIC: &str = "-";

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// A statement; or `rule` or `rule_id`.
    sql: Option<String>,
    /// The name of a rule.
    rule: Option<String>,
    /// The id of a rule of the API.
    rule_id: Option<u64>,
    /// How payloads are read, for `sql`; a rule knows it.
    data_type: Option<DataType>,
    /// What the payload was published to; without it the topic filter is not checked.
    topic: Option<String>,
    /// The payload as JSON; without any payload the statement alone is explained.
    payload: Option<Box<RawValue>>,
    /// The payload as base64, for anything else.
    payload_base64: Option<String>,
    /// When the message arrived, in milliseconds since 1970; now by default.
    time_ms: Option<u64>,
    /// The message's number.
    #[serde(default)]
    message_id: u64,
}

/// The body of an answer.
#[derive(serde::Serialize)]
struct Answer {
    plan: PlanReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageReport>,
}

/// Answers a request to `/explain`.
pub(super) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    match answer(&api, request).await {
        Ok(text) => json_text(StatusCode::OK, text),
        Err(refusal) => refusal.response(),
    }
}

async fn answer(api: &Api, request: Request) -> Result<String, Refusal> {
    if request.method() != Method::POST {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "use POST"));
    }
    identify(api, request.headers(), Role::Read).await?;
    let busy = || {
        let text = format!("{EXPLAINED_AT_ONCE} statements are being explained already; try again");
        refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
    };
    let permit = Arc::clone(&api.explaining).try_acquire_owned().map_err(|_| busy())?;
    let text = body(api, request.into_body(), api.state.limits.body, "request").await?;
    let question: Question = serde_json::from_slice(&text).map_err(|problem| {
        let text = format!("the body is not as expected: {problem}");
        refuse(StatusCode::BAD_REQUEST, "request", text)
    })?;
    let (statement, data_type, name) = asked(api, &question).await?;
    let options = api.state.rules.options(data_type);
    let message = message(api, question, &options)?;
    // Compiling and evaluating take as long as they take, up to the limits of both.
    let work = tokio::task::spawn_blocking(move || {
        let answer = explain(&statement, &options, message, &name);
        drop(permit);
        answer
    });
    let answer = work.await.map_err(|problem| {
        tracing::error!(%problem, "a statement could not be explained");
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the server's log has the reason")
    })?;
    let answer =
        answer.map_err(|error| refuse(StatusCode::BAD_REQUEST, "sql", error.to_string()))?;
    serde_json::to_string(&answer)
        .map_err(|problem| refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", problem.to_string()))
}

/// The statement that a request is about, how it reads payloads, and the name of its rule.
async fn asked(api: &Api, question: &Question) -> Result<(Statement, DataType, String), Refusal> {
    let missing = |what: String| refuse(StatusCode::NOT_FOUND, "rule", what);
    match (&question.sql, &question.rule, question.rule_id) {
        (Some(text), None, None) => {
            let data_type = question.data_type.unwrap_or_default();
            Ok((Statement::Text(text.clone()), data_type, "sql".into()))
        }
        (None, Some(name), None) => {
            if let Some(rule) = api.state.rules.rule(name)
                && let Some(statement) = rule.sql.clone()
            {
                return Ok((statement, rule.data_type, name.clone()));
            }
            let stored = api.state.store.rule_named(name).await.map_err(store_failed)?;
            let rule = stored.ok_or_else(|| missing(format!("there is no rule `{name}`")))?;
            let sql = statement(&rule);
            let sql = sql.ok_or_else(|| missing(format!("the rule `{name}` has no statement")))?;
            Ok((sql, rule.data_type, rule.name))
        }
        (None, None, Some(id)) => {
            let stored = api.state.store.rule(id).await.map_err(store_failed)?;
            let rule = stored.ok_or_else(|| missing(format!("there is no rule with id {id}")))?;
            let sql = statement(&rule);
            let sql = sql.ok_or_else(|| missing(format!("the rule {id} has no statement")))?;
            Ok((sql, rule.data_type, rule.name))
        }
        _ => {
            let text = "give one of `sql`, `rule` (a name) and `rule_id`";
            Err(refuse(StatusCode::BAD_REQUEST, "request", text))
        }
    }
}

fn store_failed(problem: crate::rule::store::StoreError) -> Refusal {
    tracing::error!(%problem, "the store of rules and keys failed");
    refuse(StatusCode::SERVICE_UNAVAILABLE, "store", "the store failed")
}

/// The message of a request, and whether it has a topic.
fn message(
    api: &Api,
    question: Question,
    options: &sql::Options,
) -> Result<Option<(Message, bool)>, Refusal> {
    let wrong = |code, text: String| refuse(StatusCode::BAD_REQUEST, code, text);
    let payload = match (question.payload, question.payload_base64) {
        (None, None) => return Ok(None),
        (Some(json), None) => json.get().as_bytes().to_vec(),
        (None, Some(text)) => STANDARD.decode(text).map_err(|problem| {
            wrong("request", format!("`payload_base64` is not base64: {problem}"))
        })?,
        (Some(_), Some(_)) => {
            let text = "give either `payload` or `payload_base64`";
            return Err(wrong("request", text.into()));
        }
    };
    let most = api.state.limits.payload;
    if payload.len() > most {
        let text = format!("the payload has more than {most} bytes");
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "payload", text));
    }
    let has_topic = question.topic.is_some();
    let topic = question.topic.unwrap_or_else(|| NO_TOPIC.to_owned());
    let topic = Topic::parse(topic.clone(), options.topic_limits)
        .map_err(|problem| wrong("topic", format!("`{topic}`: {problem}")))?;
    let mut message =
        Message::new(topic, payload, question.time_ms.unwrap_or_else(|| api.now_ms()));
    message.id = question.message_id;
    Ok(Some((message, has_topic)))
}

fn explain(
    statement: &Statement,
    options: &sql::Options,
    message: Option<(Message, bool)>,
    rule: &str,
) -> Result<Answer, sql::Mistakes> {
    let explanation = statement.explain(options)?;
    let message = message.map(|(message, has_topic)| {
        let input = Input { message: &message, facts: &NoFacts, rule, has_topic };
        explanation.message(&input, &mut Scratch::new())
    });
    Ok(Answer { plan: explanation.plan(), message })
}
