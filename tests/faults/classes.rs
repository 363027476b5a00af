//! R15: what every status that an HTTP server may answer leads to, through the real sink. The codes of
//! the other protocols stand in tables beside the connectors that read them.

use axum::http::StatusCode;
use axum::http::Uri;
use connectors::contract::{FailureKind, Outcome};
use serde_json::json;
use tokio::net::TcpListener;

use crate::connectors::{Folder, env, record, sink};

async fn answer(uri: Uri) -> StatusCode {
    let status = uri.path().trim_start_matches('/').parse().expect("a number");
    StatusCode::from_u16(status).expect("a status")
}

/// 401, 403 and 404 of a fixed address pause the action; nothing there is ever the record's fault.
fn class_of(status: u16) -> Outcome {
    let kind = match status {
        200..=299 => return Outcome::Ok,
        408 => FailureKind::Timeout,
        504 => FailureKind::Unknown,
        425 | 429 | 503 => FailureKind::Busy,
        500..=599 => FailureKind::Unreachable,
        401 | 402 | 403 | 407 => FailureKind::Denied,
        300..=399 | 404 | 405 | 406 | 410 | 415 | 421 | 426 => FailureKind::Misconfigured,
        _ => FailureKind::Rejected,
    };
    Outcome::from_error(connectors::contract::DeliveryError::new(kind, ""))
}

#[tokio::test]
async fn r15_every_status_of_http_leads_where_the_table_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    let folder = Folder::new();
    for status in 200..=599 {
        let settings = json!({ "url": format!("http://{address}/{status}"), "timeout": "30s" });
        let http = sink("http", &settings, &env(folder.path())).expect("settings");
        let outcome = http.deliver(&[record("{}")]).await.remove(0);
        let (got, want) = (outcome.class(), class_of(status).class());
        assert_eq!(got, want, "{status}: {outcome:?}");
        if let Outcome::Retry(e) | Outcome::Misconfigured(e) | Outcome::Poison(e) = &outcome {
            assert!(e.message.contains(&status.to_string()), "{status}: {e}");
        }
    }
}
