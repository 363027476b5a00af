//! The vendor's cloud protocol, version 3.0, on `/`: `CallDeviceActionAsync` and
//! `CallDeviceActionSync`, signed with TC3-HMAC-SHA256, HmacSHA1 or HmacSHA256.
//!
//! It has no other of that vendor's operations.

use axum::http::{Method, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::contract::{object, tree};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::act::{Act, Undone};
use super::answer::{Problem, answer, problem};
use super::pass::{admit, key};
use crate::api::access::mac::{same, sha1, sha256};
use crate::api::access::{Stamp, WINDOW_MINUTES, is_near};
use crate::api::exchange::received::Received;
use crate::api::state::Api;
use crate::rule::store::{AccessKey, Role};
use crate::thing::{CallError, Done, ServiceError};

/// The version that a request may name.
const VERSION: &str = "2019-04-23";

/// The algorithm of the newer signature.
const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// A request in this protocol.
struct Request<'r>(&'r Received);

/// True when a request is in this protocol: no other has these names.
pub(crate) fn speaks(received: &Received) -> bool {
    received.headers.contains_key("x-tc-action") || received.all.contains_key("SecretId")
}

/// Answers a request in this protocol.
pub(crate) async fn handle(api: &Api, received: &Received) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    answer(&id, Request(received).run(api).await)
}

/// What the newer signature's header says.
struct Authorization<'a> {
    key_id: &'a str,
    date: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(ALGORITHM)?;
        let field = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let mut credential = field("Credential")?.split('/');
        let (key_id, date, service) = (credential.next()?, credential.next()?, credential.next()?);
        (credential.next()? == "tc3_request").then_some(())?;
        let (signed_headers, signature) = (field("SignedHeaders")?, field("Signature")?);
        Some(Self { key_id, date, service, signed_headers, signature })
    }
}

impl Request<'_> {
    async fn run(&self, api: &Api) -> Result<Map<String, Value>, Problem> {
        if self.0.method != Method::GET && self.0.method != Method::POST {
            return Err(problem("UnsupportedProtocol", "use GET or POST"));
        }
        let newer = self.0.header("x-tc-action").is_some();
        let key = if newer { self.newer(api).await? } else { self.older(api).await? };
        let action = match self.0.header("x-tc-action") {
            Some(action) => action,
            None => self.parameter("Action")?,
        };
        let version = self.0.header("x-tc-version").or(self.0.all.get("Version").map(|v| &**v));
        if version != Some(VERSION) {
            return Err(problem("NoSuchVersion", format!("expected version {VERSION}")));
        }
        let wait = match action {
            "CallDeviceActionAsync" => false,
            "CallDeviceActionSync" => true,
            other => {
                let text =
                    format!("`{other}`; there are CallDeviceActionAsync and CallDeviceActionSync");
                return Err(problem("InvalidAction", text));
            }
        };
        if key.role < Role::Operate {
            return Err(problem("UnauthorizedOperation", "the access key may only read"));
        }
        let given = self.given()?;
        let need = |name: &str| match given.get(name).and_then(Value::as_str).unwrap_or("") {
            "" => Err(problem("MissingParameter", format!("{name} is missing"))),
            text => Ok(text),
        };
        let input = given.get("InputParams").and_then(Value::as_str);
        let act = Act {
            product_key: need("ProductId")?,
            device_name: need("DeviceName")?,
            action: need("ActionId")?,
            input: input.filter(|text| !text.is_empty()).unwrap_or("{}"),
            wait,
        };
        act.carry_out(api).await.map(told).map_err(undone)
    }

    /// The operation's own parameters: in the body, or in query or form.
    fn given(&self) -> Result<Map<String, Value>, Problem> {
        let is_json = self.0.header("content-type").is_some_and(|kind| kind.contains("json"));
        if is_json && self.0.method == Method::POST {
            return object(&self.0.body).map_err(|failed| {
                problem("InvalidParameter", format!("the body is no JSON object: {failed}"))
            });
        }
        let pairs = self.0.all.iter();
        Ok(pairs.map(|(name, value)| (name.clone(), value.as_str().into())).collect())
    }

    fn parameter(&self, name: &str) -> Result<&str, Problem> {
        let text = self.0.all.get(name).map_or("", String::as_str);
        match text {
            "" => Err(problem("MissingParameter", format!("{name} is missing"))),
            text => Ok(text),
        }
    }

    /// The host as it was sent, and without its port: one client signs it so.
    fn hosts(&self) -> impl Iterator<Item = &str> {
        let host = self.0.header(header::HOST.as_str()).unwrap_or("");
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        [host, bare].into_iter()
    }

    /// The key of a request with TC3-HMAC-SHA256. It carries no nonce: within its time it can be
    /// repeated, as with the vendor.
    async fn newer(&self, api: &Api) -> Result<AccessKey, Problem> {
        let failure = |text: &str| problem("AuthFailure.SignatureFailure", text);
        let text = self.0.header(header::AUTHORIZATION.as_str()).unwrap_or("");
        let authorization = Authorization::read(text).ok_or_else(|| {
            failure("Authorization: expected `TC3-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`")
        })?;
        let time = self.0.header("x-tc-timestamp").unwrap_or("");
        let time_s: i64 = time.parse().map_err(|_| failure("X-TC-Timestamp: expected seconds"))?;
        let day = Timestamp::from_second(time_s).map(|time| time.strftime("%Y-%m-%d").to_string());
        if day.ok().as_deref() != Some(authorization.date) {
            return Err(failure("the date in Credential is not that of X-TC-Timestamp"));
        }
        expire(api, u64::try_from(time_s).unwrap_or(0).saturating_mul(1000))?;
        let key = known(api, authorization.key_id).await?;
        let good = self.hosts().any(|host| {
            let text = self.newer_text(&authorization, time, host);
            same(&newer_signature(&key.secret, &authorization, &text), authorization.signature)
        });
        if !good {
            return Err(failure("the signature does not fit"));
        }
        let limited = api.admit_repeatable(&key.id, api.now_ms());
        limited.map_err(|refused| problem("RequestLimitExceeded", refused.message()))?;
        Ok(key)
    }

    fn newer_text(&self, authorization: &Authorization<'_>, time: &str, host: &str) -> String {
        let mut canonical = format!("{}\n/\n", self.0.method);
        let is_get = self.0.method == Method::GET;
        canonical.push_str(if is_get { self.0.query_text() } else { "" });
        canonical.push('\n');
        for name in authorization.signed_headers.split(';') {
            let value = match name {
                "host" => host.to_owned(),
                // The vendor's own clients sign this one in lower case.
                "x-tc-action" => self.0.header(name).unwrap_or("").to_ascii_lowercase(),
                name => self.0.header(name).unwrap_or("").trim().to_owned(),
            };
            canonical.extend([name, ":", &value, "\n"]);
        }
        let unsigned = self.0.header("x-tc-content-sha256") == Some("UNSIGNED-PAYLOAD");
        let body: &[u8] = match unsigned {
            true => b"UNSIGNED-PAYLOAD",
            false if is_get => b"",
            false => &self.0.body,
        };
        let body = hex::encode(Sha256::digest(body));
        canonical.extend(["\n", authorization.signed_headers, "\n", &body]);
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let Authorization { date, service, .. } = authorization;
        format!("{ALGORITHM}\n{time}\n{date}/{service}/tc3_request\n{digest}")
    }

    /// The key of a request with the older signature, which is among the parameters.
    async fn older(&self, api: &Api) -> Result<AccessKey, Problem> {
        let key_id = self.parameter("SecretId")?;
        let signature = self.parameter("Signature")?;
        let time =
            self.parameter("Timestamp")?.parse().map(|seconds: u64| seconds.saturating_mul(1000));
        let time_ms =
            time.map_err(|_| problem("InvalidParameter", "Timestamp: expected seconds"))?;
        let nonce = format!("{}/{time_ms}", self.parameter("Nonce")?);
        expire(api, time_ms)?;
        let key = known(api, key_id).await?;
        let method = self.0.all.get("SignatureMethod").map_or("HmacSHA1", String::as_str);
        let sign: fn(&[u8], &str) -> Vec<u8> = match method {
            "HmacSHA1" => |key, text| sha1(key, text).to_vec(),
            "HmacSHA256" => |key, text| sha256(key, text).to_vec(),
            other => {
                let text = format!("SignatureMethod `{other}`; expected HmacSHA1 or HmacSHA256");
                return Err(problem("InvalidParameter", text));
            }
        };
        let mut pairs: Vec<_> = self
            .0
            .all
            .iter()
            .filter(|(name, _)| *name != "Signature")
            .map(|(name, value)| (name.replace('_', "."), value))
            .collect();
        pairs.sort_unstable();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let pairs = pairs.join("&");
        let good = self.hosts().any(|host| {
            let text = format!("{}{host}/?{pairs}", self.0.method);
            same(&STANDARD.encode(sign(key.secret.as_bytes(), &text)), signature)
        });
        if !good {
            return Err(problem("AuthFailure.SignatureFailure", "the signature does not fit"));
        }
        let stamp = Stamp { key_id, nonce: &nonce, time_ms };
        admit(api, &stamp).map_err(|refused| problem("RequestLimitExceeded", refused))?;
        Ok(key)
    }
}

fn expire(api: &Api, time_ms: u64) -> Result<(), Problem> {
    match is_near(time_ms, api.now_ms()) {
        true => Ok(()),
        false => {
            let text = format!("the time is more than {WINDOW_MINUTES} minutes from the server's");
            Err(problem("AuthFailure.SignatureExpire", text))
        }
    }
}

async fn known(api: &Api, key_id: &str) -> Result<AccessKey, Problem> {
    let key = key(api, key_id).await?;
    key.ok_or_else(|| problem("AuthFailure.SecretIdNotFound", "there is no such access key"))
}

fn newer_signature(secret: &str, authorization: &Authorization<'_>, text: &str) -> String {
    let day = sha256(format!("TC3{secret}").as_bytes(), authorization.date);
    let service = sha256(&day, authorization.service);
    let signing = sha256(&service, "tc3_request");
    hex::encode(sha256(&signing, text))
}

/// What a device answered, or that it was asked.
fn told(done: Done) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("ClientToken".to_owned(), done.id.to_string().into());
    let Some(answer) = done.answer else {
        fields.insert("Status".to_owned(), "succ".into());
        return fields;
    };
    let answer = tree(&answer).unwrap_or_default();
    let output = answer.get("data").map_or_else(|| "{}".to_owned(), Value::to_string);
    let status = answer.get("message").and_then(Value::as_str).unwrap_or("");
    fields.insert("OutputParams".to_owned(), output.into());
    fields.insert("Status".to_owned(), status.into());
    fields
}

fn undone(undone: Undone) -> Problem {
    match undone {
        Undone::NoProduct => {
            problem("ResourceNotFound.StudioProductNotExist", "there is no such product")
        }
        Undone::NoDevice => problem("ResourceNotFound.DeviceNotExist", "there is no such device"),
        Undone::Refused(ServiceError::Call(failed)) => {
            let code = match failed {
                CallError::Timeout => "FailedOperation.Timeout",
                CallError::Busy => "RequestLimitExceeded",
                CallError::Offline | CallError::HalfOpen => "FailedOperation.ActionUnreachable",
            };
            problem(code, failed.to_string())
        }
        Undone::Refused(refused @ ServiceError::NotJson(_)) => {
            problem("InvalidParameter.ActionInputParamsInvalid", refused.to_string())
        }
        Undone::Refused(refused) => {
            problem("InvalidParameterValue.ActionNilOrNotExist", refused.to_string())
        }
    }
}
