//! The `http` sink: one request per record, to a function, a webhook or any other service. It follows
//! no redirects and sends nothing to a host that is not written in the rule.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::{
    Body, ConfigError, DeliveryError, Env, FailureKind, Network, Outcome, PathGuard, Period,
    Preview, Record, Sink, SinkConfig, Template, Unreachable,
};

/// Records in one call.
const BATCH_MAX: usize = 16;

/// Requests in flight at once within one call; those of one device follow each other.
const CONCURRENCY: usize = 16;

/// The longest that one request may take, unless `timeout` says otherwise.
const TIMEOUT: Period = Period::from_secs(5);

/// The most of an answer that is shown in an error, in characters, and that is read, in bytes.
const ANSWER_SHOWN: usize = 200;
const ANSWER_READ: usize = 1024;

/// The most of a good answer that is read, in bytes: a connection can be used again only when its
/// last answer was read to the end.
const ANSWER_DRAINED: usize = 64 * 1024;

/// What tells the other side a further try from a further record
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Sends each record in a request of its own; an answer with status 2xx confirms it. The header
/// `Idempotency-Key` (rule, action and message id) is the same for every try of a record, also after an
/// answer that was lost; an entry of that name in `headers` takes its place.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Where to: `http://` or `https://`, a host, and a path and query in which `${…}` stands for
    /// percent-encoded values. The host itself may not hold `${…}`.
    url: Template,
    /// The request's method.
    #[serde(default = "post")]
    method: String,
    /// Header names to values.
    #[serde(default)]
    headers: BTreeMap<String, Template>,
    /// The body, such as `{"t":${t}}`; without it the record as it is.
    body: Option<Template>,
    /// The longest that one request may take.
    #[serde(default = "timeout")]
    timeout: Period,
}

fn post() -> String {
    "POST".to_owned()
}

fn timeout() -> Period {
    TIMEOUT
}

impl SinkConfig for HttpSettings {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "Calls a function or webhook over HTTP, once for each record.";
    const EXAMPLE: &'static str =
        r#"{ url: "http://127.0.0.1:9000/invoke/${device}", timeout: 5s }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        let (root, shown) = read_url(self.url.as_str())?;
        check_address(&root, &env.network)?;
        let method = Method::from_bytes(self.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| ConfigError::new("method", "expected a method such as POST or PUT"))?;
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, template) in self.headers {
            let path = format!("headers.{name}");
            let name = HeaderName::try_from(&name)
                .map_err(|_| ConfigError::new(&path, "this can't be the name of a header"))?;
            if template.literal().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
                return Err(ConfigError::new(&path, "a header's value may not hold controls"));
            }
            headers.push((name, template));
        }
        // The daemon installs a provider for TLS when it starts; without one no client can be made,
        // not even for plain HTTP.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another thread was faster, which is as good.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(self.timeout.get())
            .connect_timeout(self.timeout.get())
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Names(env.network.clone()));
        // A proxy would resolve names itself, and connect to what nobody has looked at.
        let client = if env.network.is_configured() { client.no_proxy() } else { client };
        let client = client
            .build()
            .map_err(|error| ConfigError::new("", format!("can't make an HTTP client: {error}")))?;
        let path = self.url.as_str().split(['?', '#']).next().unwrap_or_default();
        let named_by_record = self.url.literal().is_none() && path.contains("${");
        Ok(Arc::new(Http {
            client,
            url: self.url,
            root,
            shown,
            named_by_record,
            method,
            headers,
            body: self.body,
        }))
    }
}

/// The URL of the host alone, and the whole without user, password and query, for error texts.
fn read_url(url: &str) -> Result<(Url, String), ConfigError> {
    let wrong = |text: &str| Err(ConfigError::new("url", text));
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
        return wrong("expected `http://` or `https://` and a host");
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains("${") || authority.contains('\\') {
        return wrong("the host may not hold `${…}`: write it out, only path and query may vary");
    }
    let Ok(root) = Url::parse(&format!("{scheme}://{authority}")) else {
        return wrong("this names no host");
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = rest.split(['?', '#']).next().unwrap_or(rest);
    Ok((root, format!("{scheme}://{host}{path}")))
}

/// Refuses a host that is an address, and one that may not be reached: nobody resolves it later.
fn check_address(root: &Url, network: &Network) -> Result<(), ConfigError> {
    let host = root.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => network
            .check(host, address)
            .map_err(|refused| ConfigError::new("url", refused.to_string())),
        Err(_) => Ok(()),
    }
}

/// Resolves names to those of their addresses that may be reached.
struct Names(Network);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let network = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut refused = None;
            let mut reached = Vec::new();
            for address in found {
                match network.check(name.as_str(), address.ip()) {
                    Ok(()) => reached.push(address),
                    Err(problem) => refused = Some(problem),
                }
            }
            match refused {
                Some(problem) if reached.is_empty() => Err(problem.into()),
                _ => Ok(Box::new(reached.into_iter()) as Addrs),
            }
        })
    }
}

struct Http {
    client: Client,
    url: Template,
    root: Url,
    shown: String,
    /// The record is part of the path: what is not there is missing for this record alone.
    named_by_record: bool,
    method: Method,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
}

/// The request that a record becomes.
struct Prepared {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

#[async_trait::async_trait]
impl Sink for Http {
    /// Records of one device are sent one after the other, and none after one that has to be tried
    /// again; different devices do not wait for each other.
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let mut lanes: BTreeMap<(Option<&str>, &str), Vec<usize>> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let message = record.message();
            let lane = message.device_name().unwrap_or_else(|| message.topic.as_str());
            lanes.entry((message.product_key(), lane)).or_default().push(at);
        }
        let lanes: Vec<_> = lanes.into_values().collect();
        let done: Vec<_> = stream::iter(lanes)
            .map(|lane| self.lane(records, lane))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut outcomes = vec![Outcome::Ok; records.len()];
        for (at, outcome) in done.into_iter().flatten() {
            outcomes[at] = outcome;
        }
        outcomes
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        // Any answer will do: only a request with a record can tell whether the path is right.
        self.client
            .head(self.root.clone())
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failure(error))
    }

    fn resource(&self) -> String {
        self.shown.clone()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        let Prepared { mut url, headers, body } = self.prepare(record)?;
        // Neither fails for a URL that has a host.
        url.set_username("").ok();
        url.set_password(None).ok();
        let headers = headers.iter().map(|(name, value)| {
            (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(Preview::new()
            .with("method", self.method.as_str())
            .with("url", url.as_str())
            .headers(headers)
            .body(&body))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }
}

impl Http {
    async fn lane(&self, records: &[Record], lane: Vec<usize>) -> Vec<(usize, Outcome)> {
        let mut done: Vec<(usize, Outcome)> = Vec::with_capacity(lane.len());
        for at in lane {
            let outcome = match done.last() {
                Some((_, Outcome::Retry(error))) => Outcome::Retry(error.clone()),
                Some((_, Outcome::Misconfigured(error))) => Outcome::Misconfigured(error.clone()),
                _ => match self.send(&records[at]).await {
                    Ok(()) => Outcome::Ok,
                    Err(error) => Outcome::from_error(error),
                },
            };
            done.push((at, outcome));
        }
        done
    }

    fn prepare(&self, record: &Record) -> Result<Prepared, DeliveryError> {
        let url = self.target(record)?;
        let mut headers = Vec::with_capacity(self.headers.len() + 2);
        let mut typed = false;
        let mut keyed = false;
        for (name, template) in &self.headers {
            let value = template.render(record, PathGuard::Line)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                rejected(format!("the value of header `{name}` can't be sent in a header"))
            })?;
            // Many a header is a password: keep it out of the library's own logs.
            value.set_sensitive(true);
            typed |= *name == CONTENT_TYPE;
            keyed |= *name == IDEMPOTENCY_KEY;
            headers.push((name.clone(), value));
        }
        if !typed {
            let kind = match record.body {
                Body::Json => "application/json",
                Body::Binary => "application/octet-stream",
            };
            headers.push((CONTENT_TYPE, HeaderValue::from_static(kind)));
        }
        if let Some(key) = record.idempotency_key().filter(|_| !keyed)
            && let Ok(key) = HeaderValue::try_from(key)
        {
            headers.push((IDEMPOTENCY_KEY, key));
        }
        let body = match &self.body {
            None => record.bytes().clone(),
            Some(template) if template.fits(record.body) => template.render_json(record).into(),
            Some(_) => return Err(rejected("a binary result has no keys for `body`".to_owned())),
        };
        Ok(Prepared { url, headers, body })
    }

    async fn send(&self, record: &Record) -> Result<(), DeliveryError> {
        let Prepared { url, headers, body } = self.prepare(record)?;
        let mut request = self.client.request(self.method.clone(), url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.map_err(|error| self.failure(error))?;
        let status = answer.status();
        if status.is_success() {
            read(answer, ANSWER_DRAINED).await;
            return Ok(());
        }
        let retry_after = retry_after(answer.headers());
        let text = beginning(&read(answer, ANSWER_READ).await);
        let colon = if text.is_empty() { "" } else { ": " };
        let text = format!("{} answered {status}{colon}{text}", self.shown);
        let error = DeliveryError { retry_after, ..DeliveryError::new(kind_of(status), text) };
        let of_path = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        Err(error.of_place(of_path && self.named_by_record))
    }

    fn target(&self, record: &Record) -> Result<Url, DeliveryError> {
        let text = self.url.render_with(record, PathGuard::Free, percent_encode)?;
        let path = text.split_once("://").map_or("", |(_, rest)| rest);
        let path = path.split(['?', '#']).next().unwrap_or(path);
        // Percent-encoding can't protect these: URLs resolve them against the path before.
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(rejected("a value makes a `.` or `..` of a part of the URL's path".into()));
        }
        Url::parse(&text).map_err(|error| rejected(format!("this makes no URL: {error}")))
    }

    fn failure(&self, error: reqwest::Error) -> DeliveryError {
        let kind = match () {
            () if is_refused(&error) => FailureKind::Denied,
            () if error.is_builder() => FailureKind::Rejected,
            () if error.is_connect() && error.is_timeout() => FailureKind::Timeout,
            () if error.is_connect() => FailureKind::Unreachable,
            // The request may have gone out, and only its answer is missing.
            () => FailureKind::Unknown,
        };
        let mut text = format!("{}: ", self.shown);
        // The URL could hold secrets; the causes say more than reqwest's own line.
        let error = error.without_url();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        let mut causes = Vec::new();
        while let Some(here) = cause {
            causes.push(here.to_string());
            cause = here.source();
        }
        text.push_str(&causes.join(": ").chars().take(ANSWER_SHOWN).collect::<String>());
        DeliveryError::new(kind, text)
    }
}

/// True when the address that a name leads to may not be reached.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(here) = cause {
        if here.is::<Unreachable>() {
            return true;
        }
        cause = here.source();
    }
    false
}

/// What an answer means (RFC 9110 §15): wait and try again, change the configuration, or give this
/// record up.
fn kind_of(status: StatusCode) -> FailureKind {
    match status.as_u16() {
        408 => FailureKind::Timeout,
        // A proxy waited in vain for the answer of the service behind it.
        504 => FailureKind::Unknown,
        425 | 429 | 503 => FailureKind::Busy,
        500..=599 => FailureKind::Unreachable,
        401 | 402 | 403 | 407 => FailureKind::Denied,
        // A redirect is not followed: the new address belongs into the rule.
        300..=399 | 404 | 405 | 406 | 410 | 415 | 421 | 426 => FailureKind::Misconfigured,
        _ => FailureKind::Rejected,
    }
}

/// How long the answer asks to wait (RFC 9110 §10.2.3): seconds, or a date, which counts from the
/// answer's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    Duration::try_from(date(text)?.duration_since(now)).ok()
}

/// Reads an answer until it ends, breaks or has more than `most` bytes.
async fn read(mut answer: reqwest::Response, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < most
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// The first words of an answer, without controls.
fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    text.take(ANSWER_SHOWN).collect()
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
fn percent_encode(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
}

fn rejected(text: String) -> DeliveryError {
    DeliveryError::new(FailureKind::Rejected, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_engine_can_do() {
        let cases: [(FailureKind, &[u16]); 7] = [
            (FailureKind::Timeout, &[408]),
            (FailureKind::Unknown, &[504]),
            (FailureKind::Busy, &[425, 429, 503]),
            (FailureKind::Unreachable, &[500, 501, 502, 505, 507, 599]),
            (FailureKind::Denied, &[401, 402, 403, 407]),
            (
                FailureKind::Misconfigured,
                &[300, 301, 302, 307, 308, 404, 405, 406, 410, 415, 421, 426],
            ),
            (FailureKind::Rejected, &[400, 409, 411, 412, 413, 414, 418, 422, 431, 451]),
        ];
        for (kind, statuses) in cases {
            for status in statuses {
                let code = StatusCode::from_u16(*status).expect("a status");
                assert_eq!(kind_of(code), kind, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |after: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(after));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            retry_after(&headers).map(|time| time.as_secs())
        };
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked("120", None), Some(120));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(30));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT", None), None);
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:07 GMT", now), None, "it is over");
        assert_eq!(asked("soon", now), None);
    }
}
