//! What scenarios can't show of groups: limits that take many calls, a restart, a store that fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::registry::{Broken, Made, call, furnished_at, made, spaced, without_tables};
use crate::api::client::Client;
use crate::api::server::{Home, Server};

/// Makes a group and returns its id.
async fn group(client: &Client, name: &str, above: &str) -> String {
    let parameters = [("GroupName", name), ("SuperGroupId", above)];
    let created = client.call("CreateDeviceGroup", &parameters).await.json();
    created["Data"]["GroupId"].as_str().unwrap_or_else(|| panic!("{name}: {created}")).to_owned()
}

/// Calls until each code was answered that no scenario can produce.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    let (mut server, key) = furnished_at(Home::new()).await;
    server.codes = codes.clone();
    limits(&server, &key).await;
    broken_tables(&server, &key).await;
    server.end().await;
}

/// A hundred groups in a group, ten groups of a device, two hundred devices of a call, a hundred tags.
async fn limits(server: &Server, key: &str) {
    let client = server.client();
    let top = group(&client, "top_1", "").await;
    let mut ids = Vec::new();
    for at in 0..100 {
        ids.push(group(&client, &format!("group{at}"), &top).await);
    }
    let below = made([("GroupName", "one_more"), ("SuperGroupId", &top)]);
    let exceeded = "200 iot.group.GroupCountExceedMax";
    assert_eq!(call(&client, "CreateDeviceGroup", &below).await, exceeded);
    // The whole server has room for 108.
    for at in 101..108 {
        group(&client, &format!("group{at}"), "").await;
    }
    let more = made([("GroupName", "one_more")]);
    assert_eq!(call(&client, "CreateDeviceGroup", &more).await, exceeded);

    let device = |id: &str| {
        made([("GroupId", id), ("Device.1.ProductKey", key), ("Device.1.DeviceName", "device1")])
    };
    for (at, id) in ids.iter().take(11).enumerate() {
        let parameters = device(id);
        let parameters: Vec<_> = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let added = client.call("BatchAddDeviceGroupRelations", &parameters).await.json();
        let counts = (&added["SuccessAddedDeviceCount"], &added["ExceedTenGroupDeviceCount"]);
        let want = if at < 10 { (1, 0) } else { (0, 1) };
        assert_eq!(counts, (&Value::from(want.0), &Value::from(want.1)), "{added}");
    }
    let of = [("ProductKey", key), ("DeviceName", "device1")];
    let groups = client.call("QueryDeviceGroupByDevice", &of).await.json();
    assert_eq!(groups["GroupInfos"]["GroupInfo"].as_array().map(Vec::len), Some(10));

    let many = |count: usize| -> Made {
        let devices = (1..=count).flat_map(|at| {
            let device = format!("Device.{at}.");
            [
                (format!("{device}ProductKey"), key.to_owned()),
                (format!("{device}DeviceName"), format!("device{at}")),
            ]
        });
        [made([("GroupId", &top)]), devices.collect()].concat()
    };
    for action in ["BatchAddDeviceGroupRelations", "BatchDeleteDeviceGroupRelations"] {
        let outcome = call(&client, action, &many(201)).await;
        assert_eq!(outcome, "200 iot.device.DeviceCountExceeded");
        assert_eq!(call(&client, action, &many(200)).await, "200 OK");
    }

    let tags = |count: usize| {
        let tag = |at: usize| format!("{{\"tagKey\":\"k{at}\",\"tagValue\":\"v\"}}");
        let tags: Vec<_> = (0..count).map(tag).collect();
        made([("GroupId", &top), ("TagString", &format!("[{}]", tags.join(",")))])
    };
    let many = "200 iot.group.TagCountExceedMax";
    assert_eq!(call(&client, "SetDeviceGroupTags", &tags(101)).await, many);
    assert_eq!(call(&client, "SetDeviceGroupTags", &tags(100)).await, "200 OK");
    assert_eq!(call(&client, "SetDeviceGroupTags", &tags(100)).await, "200 OK");
}

const BROKEN: &[Broken] = &[
    ("device_groups", "CreateDeviceGroup", "GroupName=another", "group.CreateGroupFailed"),
    ("device_groups", "UpdateDeviceGroup", "GROUP GroupDesc=x", "group.UpdateGroupFailed"),
    ("device_groups", "DeleteDeviceGroup", "GROUP", "group.DeleteGroupFailed"),
    ("device_groups", "QueryDeviceGroupInfo", "GROUP", "group.QueryGroupInfoFailed"),
    ("device_groups", "QueryDeviceGroupList", "PageSize=1", "group.QueryGroupListFailed"),
    ("device_groups", "QuerySuperDeviceGroup", "GROUP", "group.QueryGroupTreeFailed"),
    ("device_groups", "QueryDeviceStatistics", "GROUP", "device.QueryDeviceStatisticsFailed"),
    ("device_group_tags", "SetDeviceGroupTags", "GROUP TagString=[]", "group.SetGroupTagFailed"),
    ("device_group_tags", "QueryDeviceGroupTagList", "GROUP", "group.QueryGroupTagFailed"),
    (
        "device_group_tags",
        "QueryDeviceGroupByTags",
        "Tag.1.TagKey=k1",
        "group.QueryGroupListFailed",
    ),
    (
        "device_group_members",
        "BatchAddDeviceGroupRelations",
        "GROUP Device.1.ProductKey=PK Device.1.DeviceName=device2",
        "group.BindGroupRelationFailed",
    ),
    (
        "device_groups",
        "BatchDeleteDeviceGroupRelations",
        "GROUP Device.1.ProductKey=PK Device.1.DeviceName=device2",
        "group.BindGroupRelationFailed",
    ),
    (
        "device_group_members",
        "QueryDeviceGroupByDevice",
        "ProductKey=PK DeviceName=device1",
        "group.QueryGroupRelationFailed",
    ),
    (
        "device_group_members",
        "QueryDeviceListByDeviceGroup",
        "GROUP",
        "group.QueryGroupRelationFailed",
    ),
];

async fn broken_tables(server: &Server, key: &str) {
    let client = server.client();
    let listed = client.call("QueryDeviceGroupList", &[("GroupName", "top_1")]).await.json();
    let id = listed["Data"]["GroupInfo"][0]["GroupId"].as_str().unwrap();
    let group = format!("GroupId={id}");
    let parameters = |text: &str| spaced(&text.replace("GROUP", &group).replace("PK", key));
    // There is room for one more group, so that only its table is in the way.
    let last = client.call("QueryDeviceGroupList", &[("GroupName", "group107")]).await.json();
    let last = made([("GroupId", last["Data"]["GroupInfo"][0]["GroupId"].as_str().unwrap())]);
    assert_eq!(call(&client, "DeleteDeviceGroup", &last).await, "200 OK");
    without_tables(server, BROKEN, parameters).await;
    // What failed has changed nothing: neither the database nor what is kept in memory.
    let info = client.call("QueryDeviceGroupInfo", &[("GroupId", id)]).await.json();
    assert_eq!(info["Data"]["DeviceCount"], 0);
    let tags = client.call("QueryDeviceGroupTagList", &[("GroupId", id)]).await.json();
    assert_eq!(tags["Data"]["GroupTagInfo"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn groups_are_there_after_a_restart() {
    there_after_a_restart(Home::new()).await;
}

#[tokio::test]
async fn groups_are_there_after_a_restart_with_postgres() {
    if let Some(home) = Home::postgres().await {
        let (server, key) = furnished_at(home).await;
        limits(&server, &key).await;
        server.end().await;
    }
    if let Some(home) = Home::postgres().await {
        there_after_a_restart(home).await;
    }
}

async fn there_after_a_restart(home: Home) {
    let (server, key) = furnished_at(home).await;
    let client = server.client();
    let top = group(&client, "father", "").await;
    let below = group(&client, "child", &top).await;
    let device = [
        ("GroupId", below.as_str()),
        ("Device.1.ProductKey", &key),
        ("Device.1.DeviceName", "device2"),
    ];
    assert_eq!(client.call("BatchAddDeviceGroupRelations", &device).await.outcome(), "200 OK");
    let tags = [device[0], ("TagString", r#"[{"tagKey":"h1","tagValue":"rr"}]"#)];
    assert_eq!(client.call("SetDeviceGroupTags", &tags).await.outcome(), "200 OK");
    assert!(server.registry.came(&key, "device2", 1_000, [10, 0, 0, 9].into(), 1));
    assert_eq!(server.registry.flush().await.unwrap(), 1);

    let server = Server::open(server.stop().await, |_| ()).await;
    let client = server.client();
    let info = client.call("QueryDeviceGroupInfo", &[device[0]]).await.json();
    let counts = ["DeviceCount", "DeviceActive", "DeviceOnline"].map(|name| &info["Data"][name]);
    assert_eq!(counts, [1, 1, 0]);
    let above = client.call("QuerySuperDeviceGroup", &[device[0]]).await.json();
    assert_eq!(above["Data"]["GroupInfo"][0]["GroupId"], *top);
    let tags = client.call("QueryDeviceGroupTagList", &[device[0]]).await.json();
    assert_eq!(tags["Data"]["GroupTagInfo"][0]["TagValue"], "rr");
    let again = client.call("BatchAddDeviceGroupRelations", &device).await.json();
    assert_eq!(again["AlreadyRelatedGroupDeviceCount"], 1);
    server.end().await;
}
