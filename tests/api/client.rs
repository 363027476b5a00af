//! A small signing client, written from the protocol's document and not from the server's code.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tidegate::rule::store::AccessKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// Status and code, as in `404 InvalidApi.NotFound`.
    pub fn outcome(&self) -> String {
        let json = self.json();
        let code = json.get("Code").or_else(|| json.get("code"));
        format!("{} {}", self.status, code.and_then(Value::as_str).unwrap_or("OK"))
    }
}

#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    key: AccessKey,
    codes: Arc<Mutex<BTreeSet<String>>>,
}

pub type Pairs = BTreeMap<String, String>;

pub fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

pub fn query(pairs: &Pairs) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.join("&")
}

impl Client {
    pub fn new(address: SocketAddr, key: AccessKey, codes: Arc<Mutex<BTreeSet<String>>>) -> Self {
        Self { address, key, codes }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn with_key(&self, key: AccessKey) -> Self {
        Self { key, ..self.clone() }
    }

    /// Parameters of a request with those that every request has, but no signature.
    pub fn parameters(&self, action: &str, own: &[(&str, &str)]) -> Pairs {
        let mut all = pairs(&[
            ("Action", action),
            ("Format", "JSON"),
            ("Version", "2018-01-20"),
            ("AccessKeyId", &self.key.id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &uuid::Uuid::new_v4().to_string()),
            ("Timestamp", "2019-02-28T06:14:33Z"),
            ("RegionId", "cn-shanghai"),
        ]);
        all.extend(pairs(own));
        all
    }

    pub fn sign(&self, method: &str, parameters: &mut Pairs) {
        parameters.remove("Signature");
        let text = format!("{method}&%2F&{}", encode(&query(parameters)));
        let secret = format!("{}&", self.key.secret);
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        parameters.insert("Signature".to_owned(), signature);
    }

    /// Signs and sends an operation.
    pub async fn call(&self, action: &str, own: &[(&str, &str)]) -> Reply {
        let mut parameters = self.parameters(action, own);
        self.sign("POST", &mut parameters);
        self.get("POST", &parameters).await
    }

    /// Signs in the newer way and sends an operation: its name in a header, its parameters in the
    /// query, and some of them in a form body.
    pub async fn call_newer(
        &self,
        action: &str,
        own: &[(&str, &str)],
        body: &[(&str, &str)],
    ) -> Reply {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let host = self.address.to_string();
        let body = query(&pairs(body)).into_bytes();
        let own = query(&pairs(own));
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", &host),
            ("x-acs-action", action),
            ("x-acs-date", "2019-02-28T06:14:33Z"),
            ("x-acs-signature-nonce", &nonce),
            ("x-acs-version", "2018-01-20"),
        ];
        let authorization = self.authorization("POST", &own, &headers, &body);
        let mut sent: Vec<_> = headers.into_iter().filter(|(name, _)| *name != "host").collect();
        sent.push(("Authorization", &authorization));
        // A space may come as `+`.
        let target = format!("/?{}", own.replace("%20", "+"));
        self.send("POST", &target, &sent, &body).await
    }

    /// The header of the newer signature over a query that is sorted and encoded.
    pub fn authorization(
        &self,
        method: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let lines: String = headers.iter().map(|(n, v)| format!("{n}:{}\n", v.trim())).collect();
        let signed = names.join(";");
        let body = hex::encode(Sha256::digest(body));
        let request = format!("{method}\n/\n{query}\n{lines}\n{signed}\n{body}");
        let text = format!("ACS3-HMAC-SHA256\n{}", hex::encode(Sha256::digest(request)));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.secret.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let id = &self.key.id;
        format!("ACS3-HMAC-SHA256 Credential={id},SignedHeaders={signed},Signature={signature}")
    }

    /// Sends parameters in the query, as they are.
    pub async fn get(&self, method: &str, parameters: &Pairs) -> Reply {
        self.send(method, &format!("/?{}", query(parameters)), &[], b"").await
    }

    /// Sends a request without a body as it is written; it ends the connection.
    pub async fn raw(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_reply(&mut stream).await
    }

    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut text = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // A server that refuses a body may close before it has all of it.
        stream.write_all(body).await.ok();
        let reply = read_reply(&mut stream).await;
        if let Ok(json) = serde_json::from_str::<Value>(&reply.body)
            && let Some(code) = json["Code"].as_str()
        {
            self.codes.lock().unwrap().insert(code.to_owned());
        }
        reply
    }
}

/// Reads one answer up to the end of the connection.
pub async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.ok();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Reply { status, headers, body: body.to_owned() }
}

/// A connection that is used for many requests.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Sends a request and reads its answer; `None` when the server ends the connection instead.
    pub async fn send(&mut self, request: &[u8]) -> Option<Reply> {
        self.stream.write_all(request).await.ok()?;
        loop {
            if let Some((reply, length)) = whole(&self.read) {
                self.read.drain(..length);
                return Some(reply);
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// The first answer of a connection and its length, once all of it is there.
fn whole(bytes: &[u8]) -> Option<(Reply, usize)> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let mut lines = std::str::from_utf8(&bytes[..end]).unwrap().trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = end + headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let body = String::from_utf8(bytes.get(end..length)?.to_vec()).unwrap();
    Some((Reply { status, headers, body }, length))
}
