//! Requests that are signed in the newer way, ACS3-HMAC-SHA256.

use tidegate::rule::store::{AccessKey, Role};

use crate::api::client::{Client, Reply};
use crate::api::server::{Server, key};

#[tokio::test]
async fn the_newer_signature_is_as_good_as_the_older() {
    let server = Server::start().await;
    let client = server.client();
    let name = "规则 +*~'()!";
    let bad_name = client.call_newer("CreateRule", &[("Name", name)], &[]).await;
    assert_eq!(bad_name.outcome(), "200 iot.common.InvalidFormattedParameter");
    let own = [("Name", "rule_one"), ("RuleDesc", name), ("Empty", "")];
    let made = client.call_newer("CreateRule", &own, &[("Select", "a + b")]).await;
    assert_eq!(made.json()["RuleId"], 100_000, "{}", made.body);
    assert_eq!(made.headers["content-type"], "application/json");
    let info = client.call_newer("GetRule", &[("RuleId", "100000")], &[]).await.json();
    assert_eq!(info["RuleInfo"]["RuleDesc"], name);
    assert_eq!(info["RuleInfo"]["Select"], "a + b");
    let xml = client.call_newer("GetRule", &[("RuleId", "100000"), ("Format", "XML")], &[]).await;
    assert!(xml.body.contains("<GetRuleResponse>"), "{}", xml.body);
    let missing = client.call_newer("GetRule", &[], &[]).await;
    assert_eq!(missing.outcome(), "400 MissingRuleId");
    let unknown = client.call_newer("Nothing", &[], &[]).await;
    assert_eq!(unknown.outcome(), "404 InvalidApi.NotFound");
    server.end().await;
}

/// Sends a request that was changed after it was signed.
async fn changed(
    client: &Client,
    change: impl FnOnce(&mut Vec<(&str, String)>, &mut String),
) -> Reply {
    let nonce = uuid::Uuid::new_v4().to_string();
    let headers = [
        ("x-acs-action", "ListRule"),
        ("x-acs-date", "2019-02-28T06:14:33Z"),
        ("x-acs-signature-nonce", &*nonce),
        ("x-acs-version", "2018-01-20"),
    ];
    let host = client.address().to_string();
    let mut signed = vec![("host", &*host)];
    signed.extend(headers);
    let authorization = client.authorization("POST", "PageSize=5", &signed, b"CurrentPage=1");
    let mut sent: Vec<_> = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
    sent.push(("Authorization", authorization));
    let mut body = "CurrentPage=1".to_owned();
    change(&mut sent, &mut body);
    let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.send("POST", "/?PageSize=5", &sent, body.as_bytes()).await
}

#[tokio::test]
async fn nothing_of_a_request_can_be_changed() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(changed(&client, |_, _| ()).await.json()["PageSize"], 5);
    let mismatch = "400 SignatureDoesNotMatch";
    let reply = changed(&client, |_, body| *body = "CurrentPage=2".to_owned()).await;
    assert_eq!(reply.outcome(), mismatch);
    let message = reply.json()["Message"].as_str().unwrap().to_owned();
    let (_, text) = message.split_once("string to sign is:").unwrap();
    assert!(text.starts_with("ACS3-HMAC-SHA256\n") && !text.contains(':'), "{message}");
    let action = changed(&client, |headers, _| headers[0].1 = "StopRule".to_owned()).await;
    assert_eq!(action.outcome(), mismatch);
    let later = changed(&client, |headers, _| headers[1].1 = "2019-02-28T06:14:34Z".to_owned());
    assert_eq!(later.await.outcome(), mismatch);
    // A header that the server reads has to be signed.
    let unsigned = changed(&client, |headers, _| {
        headers[4].1 = headers[4].1.replace("x-acs-action;", "");
    });
    assert_eq!(unsigned.await.outcome(), "400 IncompleteSignature");
    let late = changed(&client, |headers, _| headers[1].1 = "2019-02-28T05:59:32Z".to_owned());
    assert_eq!(late.await.outcome(), "400 InvalidTimeStamp.Expired");
    let other = changed(&client, |headers, _| headers[4].1 = "ACS3-HMAC-SM3 x".to_owned()).await;
    assert_eq!(other.outcome(), "400 InvalidSignatureMethod");
    let nobody = AccessKey { id: "nobody".to_owned(), ..key(Role::Admin) };
    let stranger = client.with_key(nobody).call_newer("ListRule", &[], &[]).await;
    assert_eq!(stranger.outcome(), "404 InvalidAccessKeyId.NotFound");
    server.end().await;
}
