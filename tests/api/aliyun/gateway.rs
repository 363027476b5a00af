//! What happens before and around operations: signatures, formats, limits, roles.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::{Nonces, error};
use tidegate::rule::store::{AccessKey, Role};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::api::client::{Reply, pairs, query, read_reply};
use crate::api::devices;
use crate::api::server::{NOW_MS, Server, key};

/// Produces every code of the gateway, for the test that counts codes.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    let mut server = Server::with(|state| {
        state.limits.body = 1000;
        state.limits.body_wait = Duration::from_millis(50);
        state.nonces = Arc::new(Nonces::in_memory(5));
    })
    .await;
    server.codes = codes.clone();
    refusals(&server).await;
    unsigned(&server).await;
    slow_body(&server).await;
    let headers = [("Authorization", "ACS3-HMAC-SHA256 Credential=x")];
    let incomplete = server.client().send("POST", "/", &headers, b"").await;
    assert_eq!(incomplete.outcome(), "400 IncompleteSignature");
    // Four nonces are used up.
    server.client().call("ListRule", &[]).await;
    assert_eq!(server.client().call("ListRule", &[]).await.outcome(), "400 Throttling.User");
    let reader = server.client().with_key(key(Role::Read));
    let denied = reader.call("DeleteRule", &[("RuleId", "1")]).await;
    assert_eq!(denied.outcome(), "200 iot.common.RamActionPermissionDeny");
    server.end().await;
}

/// Requests that no operation sees.
async fn refusals(server: &Server) {
    let client = server.client();
    let signed = |change: &[(&str, &str)]| {
        let mut parameters = client.parameters("ListRule", change);
        client.sign("GET", &mut parameters);
        parameters
    };
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("SignatureNonce", "")], "400 MissingSignatureNonce"),
        (&[("AccessKeyId", "nobody")], "404 InvalidAccessKeyId.NotFound"),
        (&[("SignatureMethod", "HMAC-MD5")], "400 InvalidSignatureMethod"),
        (&[("SignatureVersion", "9")], "400 InvalidSignatureVersion"),
        (&[("Timestamp", "now")], "400 InvalidTimeStamp.Format"),
        (&[("Timestamp", "2019-02-28T05:14:33Z")], "400 InvalidTimeStamp.Expired"),
        (&[("Timestamp", "2019-02-28T06:29:34Z")], "400 InvalidTimeStamp.Expired"),
        (&[("Action", "Nothing")], "404 InvalidApi.NotFound"),
        (&[("Action", "")], "400 MissingAction"),
        (&[("Version", "2016-01-01")], "400 InvalidVersion"),
    ];
    for (change, want) in cases {
        let reply = client.get("GET", &signed(change)).await;
        assert_eq!(&reply.outcome(), want, "{}", reply.body);
        let json = reply.json();
        for field in ["RequestId", "HostId", "Message", "Recommend"] {
            assert!(json[field].is_string(), "{}", reply.body);
        }
    }
    let parameters = signed(&[]);
    let wrong_method = client.get("PUT", &parameters).await;
    assert_eq!(wrong_method.outcome(), "405 UnsupportedHTTPMethod");
    let mut changed = parameters.clone();
    changed.insert("PageSize".to_owned(), "20".to_owned());
    let mismatch = client.get("GET", &changed).await;
    assert_eq!(mismatch.outcome(), "400 SignatureDoesNotMatch");
    let message = mismatch.json()["Message"].as_str().unwrap().to_owned();
    let (before, after) = message.split_once(':').unwrap();
    assert_eq!(
        before,
        "Specified signature is not matched with our calculation. server string to sign is"
    );
    assert!(
        after.starts_with("GET&%2F&AccessKeyId%3Dtest-admin%26Action%3DListRule")
            && !after.contains(':')
    );
    assert_eq!(client.get("GET", &parameters).await.outcome(), "200 OK");
    assert_eq!(client.get("GET", &parameters).await.outcome(), "400 SignatureNonceUsed");
    let not_utf8 = client.send("GET", "/?Format=JSON&a=%ff", &[], b"").await;
    assert_eq!(not_utf8.outcome(), "400 InvalidParameter.Format");
    let huge = client.send("POST", "/?Format=JSON", &[], &[b'a'; 1001]).await;
    assert_eq!(huge.outcome(), "413 RequestBodyTooLarge");
}

/// Who does not sign is told how; everybody is told of a page that exists.
async fn unsigned(server: &Server) {
    let client = server.client();
    let unsigned =
        client.send("GET", "/?Format=JSON&Action=ListRule&Version=2018-01-20", &[], b"").await;
    assert_eq!(unsigned.outcome(), "400 MissingAccessKeyId");
    let recommend = unsigned.json()["Recommend"].as_str().unwrap().to_owned();
    for part in ["calls are signed", "access-key", "tidegate keys create", error::CODES_PAGE] {
        assert!(recommend.contains(part), "{recommend}");
    }
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(error::CODES_PAGE);
    let page = std::fs::read_to_string(page).expect("the page");
    assert!(page.contains("| `Missing{}` | 400 |"), "{page}");
}

async fn slow_body(server: &Server) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /?Format=JSON HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = read_reply(&mut stream).await;
    assert_eq!(reply.outcome(), "408 RequestTimeout");
    server.codes.lock().unwrap().insert("RequestTimeout".to_owned());
}

#[tokio::test]
async fn parameters_may_stand_anywhere() {
    let server = Server::start().await;
    let client = server.client();
    let name = "规则_测试-1";
    let create = client.parameters(
        "CreateRule",
        &[("Name", name), ("RuleDesc", "a+b *~'()! %41"), ("SignatureType", ""), ("Where", "")],
    );

    // All in the body, spaces as `+`, with an odd content type.
    let mut parameters = create.clone();
    client.sign("POST", &mut parameters);
    let body = query(&parameters).replace("%20", "+");
    let reply = client.send("POST", "/", &[("Content-Type", "text/plain")], body.as_bytes()).await;
    assert_eq!(reply.json()["RuleId"], 100_000, "{}", reply.body);

    // Some in the query, some in a chunked body, hexadecimal digits in lower case.
    let mut parameters = client.parameters("GetRule", &[("RuleId", "100000")]);
    client.sign("POST", &mut parameters);
    let own = parameters.split_off("RuleId");
    let text = format!(
        "POST /?{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        query(&parameters).replace("%2B", "%2b").replace("%3A", "%3a"),
        query(&own).len(),
        query(&own)
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let info = read_reply(&mut stream).await.json();
    assert_eq!(info["RuleInfo"]["Name"], name);
    assert_eq!(info["RuleInfo"]["RuleDesc"], "a+b *~'()! %41");

    // A JSON body holds no parameters.
    let mut parameters = client.parameters("GetRule", &[("RuleId", "100000")]);
    client.sign("POST", &mut parameters);
    let target = format!("/?{}", query(&parameters));
    let json = [("Content-Type", "application/json; charset=utf-8")];
    let reply = client.send("POST", &target, &json, b"{\"a\":1}").await;
    assert_eq!(reply.outcome(), "200 OK");

    // Action and version in headers.
    let mut parameters = client.parameters("GetRule", &[("RuleId", "100000")]);
    parameters.remove("Action");
    parameters.remove("Version");
    client.sign("GET", &mut parameters);
    let headers = [("x-acs-action", "GetRule"), ("x-acs-version", "2018-01-20")];
    let reply = client.send("GET", &format!("/?{}", query(&parameters)), &headers, b"").await;
    assert_eq!(reply.outcome(), "200 OK");
    server.end().await;
}

#[tokio::test]
async fn answers_come_as_xml_when_asked_or_not_asked() {
    let server = Server::start().await;
    let client = server.client();
    let xml = async |action: &str, own: &[(&str, &str)]| {
        let mut parameters = client.parameters(action, own);
        parameters.remove("Format");
        client.sign("POST", &mut parameters);
        let reply = client.get("POST", &parameters).await;
        assert_eq!(reply.headers["content-type"], "text/xml;charset=utf-8");
        let (before, rest) = reply.body.split_once("<RequestId>").unwrap();
        let (id, after) = rest.split_once("</RequestId>").unwrap();
        assert_eq!(id.len(), 36);
        format!("{} {before}<RequestId/>{after}", reply.status)
    };
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    assert_eq!(
        xml("CreateRule", &[("Name", "rule_one")]).await,
        format!(
            "200 {head}<CreateRuleResponse><RequestId/><RuleId>100000</RuleId><Success>true</Success></CreateRuleResponse>"
        )
    );
    let configuration =
        r#"{"topic":"/sys/a1zSA28HUyy/device/thing/service/property/set","topicType":0}"#;
    let action = [("RuleId", "100000"), ("Type", "REPUBLISH"), ("Configuration", configuration)];
    xml("CreateRuleAction", &action).await;
    assert_eq!(
        xml("GetRuleAction", &[("ActionId", "100000")]).await,
        format!(
            "200 {head}<GetRuleActionResponse><RuleActionInfo><Type>REPUBLISH</Type><RuleId>100000</RuleId><Id>100000</Id><Configuration><topic>/sys/a1zSA28HUyy/device/thing/service/property/set</topic><topicType>0</topicType><uid>1000000000000000</uid></Configuration><ErrorActionFlag>false</ErrorActionFlag></RuleActionInfo><RequestId/><Success>true</Success></GetRuleActionResponse>"
        )
    );
    xml("CreateRule", &[("Name", "rule_two"), ("RuleDesc", "a < b & c")]).await;
    let list = xml("ListRule", &[]).await;
    assert_eq!(list.matches("<RuleInfo>").count(), 2, "{list}");
    assert!(list.contains("<RuleDesc>a &lt; b &amp; c</RuleDesc>"), "{list}");
    assert!(list.ends_with("</RuleInfo></Data><PageSize>10</PageSize><Page>1</Page><RequestId/><Success>true</Success><Total>2</Total></ListRuleResponse>"), "{list}");
    assert_eq!(
        xml("GetRule", &[("RuleId", "1")]).await,
        format!(
            "200 {head}<GetRuleResponse><RequestId/><Success>false</Success><Code>iot.rule.NotFoundRule</Code><ErrorMessage>there is no rule with id 1; ListRule shows the rules that there are</ErrorMessage></GetRuleResponse>"
        )
    );
    let unknown = xml("<x>", &[]).await;
    assert!(
        unknown.starts_with(&format!("404 {head}<Error><RequestId/><HostId>127.0.0.1")),
        "{unknown}"
    );
    assert!(unknown.contains("<Code>InvalidApi.NotFound</Code>"), "{unknown}");
    server.end().await;
}

#[tokio::test]
async fn json_keys_come_in_the_order_of_the_documents() {
    let server = Server::start().await;
    let client = server.client();
    let keys = |reply: &Reply| -> String {
        assert_eq!(reply.headers["content-type"], "application/json");
        let json = reply.json();
        json.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let created = client.call("CreateRule", &[("Name", "rule_one")]).await;
    assert_eq!(keys(&created), "RequestId RuleId Success");
    let got = client.call("GetRule", &[("RuleId", "100000")]).await;
    assert_eq!(keys(&got), "RequestId Success RuleInfo");
    let listed = client.call("ListRule", &[]).await;
    assert_eq!(keys(&listed), "Data PageSize Page RequestId Success Total");
    let actions = client.call("ListRuleActions", &[("RuleId", "100000")]).await;
    assert_eq!(keys(&actions), "RuleActionList RequestId Success");
    assert_eq!(actions.json()["RuleActionList"]["RuleActionInfo"], Value::Array(Vec::new()));
    server.end().await;
}

#[tokio::test]
async fn keys_come_from_the_store_too_and_have_roles() {
    let server = Server::start().await;
    let stored = server.store.create_key(Role::Operate, NOW_MS).await.unwrap();
    let client = server.client().with_key(stored.clone());
    assert_eq!(client.call("ListRule", &[]).await.outcome(), "200 OK");
    let stop = client.call("StopRule", &[("RuleId", "1")]).await;
    assert_eq!(stop.outcome(), "200 iot.rule.NotFoundRule");
    let create = client.call("CreateRule", &[("Name", "rule_one")]).await;
    assert_eq!(create.outcome(), "200 iot.common.RamActionPermissionDeny");
    let wrong = AccessKey { secret: "x".to_owned(), ..stored.clone() };
    let mismatch = client.with_key(wrong).call("ListRule", &[]).await;
    assert_eq!(mismatch.outcome(), "400 SignatureDoesNotMatch");
    assert!(server.store.revoke_key(&stored.id, NOW_MS).await.unwrap());
    let revoked = client.call("ListRule", &[]).await;
    assert_eq!(revoked.outcome(), "404 InvalidAccessKeyId.NotFound");
    server.end().await;
}

#[tokio::test]
async fn a_request_works_once_also_after_a_restart() {
    let server = Server::start().await;
    let mut parameters = server.client().parameters("ListRule", &[]);
    server.client().sign("GET", &mut parameters);
    assert_eq!(server.client().get("GET", &parameters).await.outcome(), "200 OK");
    let server = Server::open(server.stop().await, |_| ()).await;
    let again = server.client().get("GET", &parameters).await;
    assert_eq!(again.outcome(), "400 SignatureNonceUsed");
    assert_eq!(server.client().call("ListRule", &[]).await.outcome(), "200 OK");
    server.end().await;
}

#[tokio::test]
async fn a_key_may_send_so_many_requests_and_no_more() {
    let server =
        Server::with(|state| (state.limits.requests_per_second, state.limits.burst) = (1, 2)).await;
    let client = server.client();
    let mut parameters = client.parameters("ListRule", &[]);
    client.sign("GET", &mut parameters);
    let mut wrong = parameters.clone();
    wrong.insert("Signature".to_owned(), "x".to_owned());
    // Who does not know the secret can't use up what the key may send.
    for _ in 0..5 {
        assert_eq!(client.get("GET", &wrong).await.outcome(), "400 SignatureDoesNotMatch");
    }
    assert_eq!(client.call("ListRule", &[]).await.outcome(), "200 OK");
    assert_eq!(client.call("ListRule", &[]).await.outcome(), "200 OK");
    assert_eq!(client.get("GET", &parameters).await.outcome(), "400 Throttling.User");
    let other = client.with_key(key(Role::Read));
    assert_eq!(other.call("ListRule", &[]).await.outcome(), "200 OK");
    server.end().await;
}

/// As Tuya's clients send it: no version, no format, no signature version; the vendor's parameters otherwise.
#[tokio::test]
async fn the_query_of_another_vendor_is_answered_in_json() {
    let (server, pk) = devices::server(&Arc::default()).await;
    let client = server.client();
    let mut parameters = pairs(&[
        ("Action", "InvokeThingService"),
        ("Args", r#"{"param":1}"#),
        ("Identifier", "testService"),
        ("SignatureNonce", "62c43dfbf4984ee0b8333f209bc47d26"),
        ("AccessKeyId", "test-admin"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("Timestamp", "2019-02-28T06:14:33Z"),
        ("ProductKey", &pk),
        ("DeviceName", "echo"),
    ]);
    client.sign("GET", &mut parameters);
    let reply = client.get("GET", &parameters).await;
    let json = reply.json();
    assert_eq!(json["Success"], true, "{}", reply.body);
    let result: Value = serde_json::from_str(json["Data"]["Result"].as_str().unwrap()).unwrap();
    assert_eq!(result["data"], json!({ "param": 1 }));
    assert_eq!(reply.headers["content-type"], "application/json");
    server.end().await;
}
