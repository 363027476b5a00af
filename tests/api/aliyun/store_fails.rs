//! What operations answer when the store fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tidegate::rule::store::{AccessKey, Role};

use crate::api::server::{Server, key};

/// Each operation and the code that it has for a store that fails.
const CODES: &[(&str, &str)] = &[
    ("ListRule", "iot.rule.QueryRulePageActionError"),
    ("GetRule", "iot.messagebroker.QueryRuleConfigActionException"),
    ("CreateRule", "iot.rule.CreateRuleException"),
    ("UpdateRule", "iot.rule.UpdateRuleFailed"),
    ("DeleteRule", "iot.rule.DeleteRuleFailed"),
    ("StartRule", "iot.rule.StartRuleFailed"),
    ("StopRule", "iot.rule.StopRuleFailed"),
    ("ListRuleActions", "iot.rule.QueryRuleActionListError"),
    ("GetRuleAction", "iot.ruleng.QueryRuleActionFailed"),
    ("CreateRuleAction", "iot.ruleng.CreateRuleActionFailed"),
    ("UpdateRuleAction", "iot.ruleng.UpdateRuleActionFailed"),
    ("DeleteRuleAction", "iot.ruleng.DeleteRuleActionFailed"),
];

/// Produces every code of a failing store, for the test that counts codes.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    let mut server = Server::start().await;
    server.codes = codes.clone();
    server.store.close().await;
    let parameters = [
        ("RuleId", "1"),
        ("ActionId", "1"),
        ("Name", "name"),
        ("Type", "FC"),
        ("Configuration", "{}"),
    ];
    for (operation, code) in CODES {
        let failed = server.client().call(operation, &parameters).await;
        assert_eq!(failed.outcome(), format!("200 {code}"), "{operation}");
    }
    // A key that is not in the configuration is looked for in the store.
    let unknown = AccessKey { id: "unknown".to_owned(), ..key(Role::Admin) };
    let failed = server.client().with_key(unknown).call("ListRule", &[]).await;
    assert_eq!(failed.outcome(), "200 iot.system.SystemException");
    server.end().await;
}
