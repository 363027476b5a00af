//! What happens before and around operations: signatures, formats, limits, roles, restarts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidegate::api::{Nonces, error};
use tidegate::rule::Statement;
use tidegate::rule::store::{AccessKey, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Client, query, read_reply};
use super::server::{Fate, NOW_MS, Server, key};

/// Produces every code of the gateway, for the test that counts codes.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    let mut server = Server::with(|state| {
        state.limits.body = 1000;
        state.limits.body_wait = Duration::from_millis(50);
        state.nonces = Arc::new(Nonces::in_memory(6));
    })
    .await;
    server.codes = codes.clone();
    refusals(&server).await;
    unsigned(&server).await;
    slow_body(&server).await;
    let headers = [("Authorization", "ACS3-HMAC-SHA256 Credential=x")];
    let incomplete = server.client().send("POST", "/", &headers, b"").await;
    assert_eq!(incomplete.outcome(), "400 IncompleteSignature");
    // Five nonces are used up.
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
    let known = client.get("GET", &signed(&[("Action", "QueryDeviceGroupInfo")])).await;
    assert_eq!(known.outcome(), "404 InvalidApi.NotFound");
    assert!(known.body.contains("QueryDeviceGroupInfo is known but not offered here"));
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
    let keys = |reply: &super::client::Reply| -> String {
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

/// A rule that runs over a MNS action and a table, ready to be looked at.
async fn start_a_rule(client: &Client) {
    let rule = [
        ("Name", "alerts"),
        ("ProductKey", "a1Pk"),
        ("ShortTopic", "+/user/#"),
        ("Select", "a, b"),
        ("Where", "a > 1"),
        ("TopicType", "1"),
    ];
    assert_eq!(client.call("CreateRule", &rule).await.json()["RuleId"], 100_000);
    let table = r#"{"instanceName":"testaaa","tableName":"tt","primaryKeys":[{"columnType":"STRING","columnName":"a","columnValue":"${a}"}],"regionName":"cn-shanghai"}"#;
    for (kind, configuration, error) in
        [("OTS", table, "false"), ("MNS", r#"{"themeName":"mns-test-topic1"}"#, "true")]
    {
        let action = [
            ("RuleId", "100000"),
            ("Type", kind),
            ("Configuration", configuration),
            ("ErrorActionFlag", error),
        ];
        assert_eq!(client.call("CreateRuleAction", &action).await.json()["Success"], true);
    }
    let started = client.call("StartRule", &[("RuleId", "100000")]).await;
    assert_eq!(started.outcome(), "200 OK");
}

#[tokio::test]
async fn rules_run_again_after_a_restart() {
    let server = Server::start().await;
    start_a_rule(&server.client()).await;
    let before = server.engine.running.lock().unwrap()[&100_000].clone();
    let statement = Statement::Parts {
        select: "a, b".to_owned(),
        from: "/a1Pk/+/user/#".to_owned(),
        filter: Some("a > 1".to_owned()),
    };
    assert_eq!(before.sql, Some(statement));
    assert_eq!(before.actions[0].connector, "sqlite");
    assert_eq!(
        before.actions[0].settings,
        serde_json::json!({"connection": "s", "table": "tt", "key": ["a"]})
    );
    let vendor = before.actions[0].vendor.clone().unwrap();
    assert_eq!((vendor.kind.as_str(), vendor.region.as_str()), ("OTS", "cn-shanghai"));
    assert_eq!(before.error_action.as_ref().unwrap().connector, "kafka");

    let folder = server.stop().await;
    let server = Server::open(folder, |_| ()).await;
    assert_eq!(server.engine.running.lock().unwrap()[&100_000], before);
    let client = server.client();
    assert_eq!(client.call("StopRule", &[("RuleId", "100000")]).await.outcome(), "200 OK");
    assert!(server.engine.running.lock().unwrap().is_empty());

    let folder = server.stop().await;
    let server = Server::open(folder, |_| ()).await;
    assert!(server.engine.running.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_rule_keeps_running_as_it_was_when_the_store_fails() {
    let server = Server::start().await;
    let client = server.client();
    start_a_rule(&client).await;
    let renamed = client.call("UpdateRule", &[("RuleId", "100000"), ("Name", "renamed")]).await;
    assert_eq!(renamed.outcome(), "200 OK");
    assert_eq!(server.engine.running.lock().unwrap()[&100_000].name, "renamed");
    server.store.close().await;
    let failed = client.call("UpdateRule", &[("RuleId", "100000"), ("Name", "other")]).await;
    assert_eq!(failed.outcome(), "200 iot.rule.UpdateRuleFailed");
    let action = [
        ("RuleId", "100000"),
        ("Type", "FC"),
        ("Configuration", r#"{"serviceName":"weather","functionName":"f"}"#),
    ];
    let failed = client.call("CreateRuleAction", &action).await;
    assert_eq!(failed.outcome(), "200 iot.ruleng.CreateRuleActionFailed");
    assert_eq!(server.engine.running.lock().unwrap()[&100_000].name, "renamed");
    assert_eq!(server.engine.running.lock().unwrap().len(), 1);
    server.end().await;
}

#[tokio::test]
async fn changes_at_the_same_time_agree() {
    let server = Server::with(|state| state.limits.rules = 5).await;
    let client = server.client();
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let name = format!("rule_{}", n % 10);
                client.call("CreateRule", &[("Name", &name)]).await.outcome()
            })
        })
        .collect();
    let mut made = 0;
    for call in calls {
        made += usize::from(call.await.unwrap() == "200 OK");
    }
    assert_eq!(made, 5);
    assert_eq!(client.call("ListRule", &[]).await.json()["Total"], 5);
    server.end().await;
}

/// Whatever asks whether the daemon lives and works needs no key; what it does is for those who have
/// one, and for everybody on loopback or when the configuration says so.
#[tokio::test]
async fn health_and_readiness_need_no_key_and_details_do() {
    let whole = r#"{"ready":false,"reasons":["rule x does not compile"],"abnormal":[],"promise":"a promise","promise_in_full":"a promise in full"}"#;
    let metrics = "tidegate_up 1\n";
    for (key, open) in [(true, false), (true, true), (false, false)] {
        let server = Server::with(|state| {
            state.ready = Arc::new(|| vec!["rule x does not compile".to_owned()]);
            (state.require_key, state.open_details) = (key, open);
        })
        .await;
        let client = server.client();
        let get = async |path: &str, authorization: Option<&str>| {
            let header = authorization.map(|text| ("Authorization", text));
            let reply = client.send("GET", path, header.as_slice(), b"").await;
            (reply.status, reply.body)
        };
        assert_eq!(get("/healthz", None).await, (200, "ok\n".to_owned()));
        assert_eq!(get("/nothing", None).await.0, 404);
        let reader = Some("Bearer test-read:testsecret");
        assert_eq!(get("/metrics", reader).await, (200, metrics.to_owned()));
        assert_eq!(get("/readyz", reader).await, (503, whole.to_owned()));
        let (bare, none) = (get("/readyz", None).await, get("/metrics", None).await);
        let wrong = Some("Bearer test-read:wrong");
        if key && !open {
            assert_eq!(bare, (503, r#"{"ready":false}"#.to_owned()));
            assert_eq!(none.0, 401);
            assert!(none.1.contains("access key"), "{}", none.1);
            assert_eq!((get("/readyz", wrong).await.0, get("/metrics", wrong).await.0), (401, 401));
        } else {
            assert_eq!(bare, (503, whole.to_owned()));
            assert_eq!(none, (200, metrics.to_owned()));
        }
        server.end().await;
    }
    let server = Server::with(|state| state.require_key = true).await;
    let ready = server.client().send("GET", "/readyz", &[], b"").await;
    assert_eq!((ready.status, &*ready.body), (200, r#"{"ready":true}"#));
    server.end().await;
}

/// A connection that never finishes its headers is closed; one that waits for its turn gets it.
#[tokio::test]
async fn connections_are_bounded_in_time_and_number() {
    let server = Server::with(|state| {
        state.limits.header_wait = Duration::from_millis(50);
        state.limits.connections = 1;
    })
    .await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let second = server.client().send("GET", "/healthz", &[], b"").await;
    assert_eq!(second.status, 200);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8(rest).unwrap().contains("200 OK"));
    server.end().await;
}

/// Once most connections are taken, those that say nothing are ended sooner.
#[tokio::test]
async fn a_full_listener_frees_itself() {
    let server = Server::with(|state| {
        state.limits.header_wait = Duration::from_secs(5);
        state.limits.connections = 4;
    })
    .await;
    let start = std::time::Instant::now();
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(server.client().send("GET", "/healthz", &[], b"").await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    server.end().await;
}

/// Sends a message that the engine keeps without an answer.
async fn hang(server: &Server) -> TcpStream {
    *server.inbox.fate.lock().unwrap() = Fate::Forget;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "POST /ingest/pk/dn/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    while server.inbox.held.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    stream
}

#[tokio::test]
async fn stopping_waits_for_requests_that_are_under_way() {
    let server = Server::start().await;
    let mut stream = hang(&server).await;
    let inbox = server.inbox.clone();
    let address = server.address;
    let ended = tokio::spawn(server.end());
    // Once the listener is gone, the server is about to stop and still has one request.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    let held = inbox.held.lock().unwrap().pop().unwrap();
    held.ack.accept();
    assert_eq!(read_reply(&mut stream).await.status, 202);
    ended.await.unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let server = Server::with(|state| state.limits.stop_wait = Duration::from_millis(50)).await;
    let mut stream = hang(&server).await;
    server.end().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty());
}
