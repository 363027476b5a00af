//! What scenarios can't show of products and devices: long lists, calls at the same time, a store
//! that fails, and what rules and connections are told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use connectors::contract::DeviceFacts as _;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use crate::api::client::Client;
use crate::api::server::{Home, Server};

/// Parameters with names that are made.
pub type Made = Vec<(String, String)>;

pub async fn call(client: &Client, action: &str, parameters: &[(String, String)]) -> String {
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.call(action, &parameters).await.outcome()
}

pub fn made<const N: usize>(parameters: [(&str, &str); N]) -> Made {
    parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn numbered(name: &str, count: usize, value: impl Fn(usize) -> String) -> Made {
    (1..=count).map(|at| (format!("{name}.{at}"), value(at))).collect()
}

/// A server with the product of that key and the devices `device1` and `device2`.
async fn furnished() -> (Server, String) {
    furnished_at(Home::new()).await
}

pub async fn furnished_at(home: Home) -> (Server, String) {
    let server = Server::open(home, |_| ()).await;
    let client = server.client();
    let created = client.call("CreateProduct", &[("ProductName", "Test"), ("NodeType", "0")]).await;
    let key = created.json()["ProductKey"].as_str().unwrap().to_owned();
    for name in ["device1", "device2"] {
        let parameters = [("ProductKey", key.as_str()), ("DeviceName", name)];
        assert_eq!(client.call("RegisterDevice", &parameters).await.outcome(), "200 OK");
    }
    (server, key)
}

/// Calls until each code was answered that no scenario can produce.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    let (mut server, key) = furnished().await;
    server.codes = codes.clone();
    long_lists(&server, &key).await;
    at_the_same_time(&server, &key).await;
    broken_tables(&server, &key).await;
    server.end().await;
}

async fn long_lists(server: &Server, key: &str) {
    let client = server.client();
    let of = made([("ProductKey", key), ("DeviceName", "device1")]);
    let with = |more: Made| [of.clone(), more].concat();
    let long = format!("{{\"color\":\"{}\"}}", "r".repeat(5 << 10));
    let outcome = call(&client, "SaveDeviceProp", &with(made([("Props", &long)]))).await;
    assert_eq!(outcome, "200 iot.device.LongDevicePropertiesString");
    let tags = |range: std::ops::Range<usize>| {
        let tags: serde_json::Map<_, _> =
            range.map(|at| (format!("k{at}"), Value::from("v"))).collect();
        with(made([("Props", &Value::Object(tags).to_string())]))
    };
    let many = "200 iot.device.TooManyDevicePropertiesPerTime";
    assert_eq!(call(&client, "SaveDeviceProp", &tags(0..101)).await, many);
    assert_eq!(call(&client, "SaveDeviceProp", &tags(0..100)).await, "200 OK");
    assert_eq!(call(&client, "SaveDeviceProp", &tags(0..100)).await, "200 OK");
    assert_eq!(call(&client, "SaveDeviceProp", &tags(100..101)).await, many);
    assert_eq!(server.registry.tag(key, "device1", "k99").as_deref(), Some("v"));
    assert_eq!(server.registry.tag(key, "device1", "k100"), None);
    let search = numbered("Tag", 11, |_| String::new());
    let search: Made = search.into_iter().map(|(n, _)| (n + ".TagKey", "k1".to_owned())).collect();
    let outcome = call(&client, "QueryDeviceByTags", &search).await;
    assert_eq!(outcome, "200 iot.common.InvalidFormattedParameter");

    let key_only = made([("ProductKey", key)]);
    let exceeded = "200 iot.device.DeviceCountExceeded";
    product_tags(&client, key).await;
    let names = [key_only.clone(), numbered("DeviceName", 51, |at| format!("name{at}"))].concat();
    assert_eq!(call(&client, "BatchGetDeviceState", &names).await, exceeded);
    let names = [key_only.clone(), numbered("DeviceName", 1000, |at| format!("name{at}"))].concat();
    assert_eq!(call(&client, "BatchCheckDeviceNames", &names).await, "200 OK");
    let extra = made([("DeviceNameList.1.DeviceName", "name1001")]);
    let names = [names, extra].concat();
    assert_eq!(call(&client, "BatchCheckDeviceNames", &names).await, exceeded);

    let created = client.call("CreateProduct", &[("ProductName", "Gateways"), ("NodeType", "1")]);
    let gateways = created.await.json()["ProductKey"].as_str().unwrap().to_owned();
    let gateway = made([("ProductKey", &gateways), ("DeviceName", "gateway1")]);
    assert_eq!(call(&client, "RegisterDevice", &gateway).await, "200 OK");
    let listed = |count: usize| {
        let list = format!("[{}]", vec!["{}"; count].join(","));
        made([("GwProductKey", &*gateways), ("GwDeviceName", "gateway1"), ("DeviceListStr", &list)])
    };
    let too_many = "200 iot.device.TopoRelationCountExceeded";
    assert_eq!(call(&client, "NotifyAddThingTopo", &listed(1501)).await, too_many);
    let nameless = "200 iot.prod.NullProductKey";
    assert_eq!(call(&client, "NotifyAddThingTopo", &listed(1500)).await, nameless);
    let gone = made([("ProductKey", &gateways)]);
    assert_eq!(call(&client, "DeleteProduct", &gone).await, "200 OK");

    for at in 6..50 {
        let name = format!("class{at}");
        let class = made([("ProductKey", key), ("TopicShortName", &name), ("Operation", "ALL")]);
        assert_eq!(call(&client, "CreateProductTopic", &class).await, "200 OK");
    }
    let class = made([("ProductKey", key), ("TopicShortName", "more"), ("Operation", "ALL")]);
    let outcome = call(&client, "CreateProductTopic", &class).await;
    assert_eq!(outcome, "200 iot.messagebroker.TopicTemplateCountExceedMax");

    assert!(server.registry.came(key, "device1", 1, [127, 0, 0, 1].into(), 1));
    let source = made([("SrcTopic", &format!("/{key}/device1/update"))]);
    let destinations =
        |count| numbered("DstTopic", count, |at| format!("/{key}/device2/to{at}/{count}"));
    let large = "200 iot.messagebroker.DestTopicNameArraySizeIsLarge";
    let routes = |count| [source.clone(), destinations(count)].concat();
    assert_eq!(call(&client, "CreateTopicRouteTable", &routes(101)).await, large);
    assert_eq!(call(&client, "CreateTopicRouteTable", &routes(100)).await, "200 OK");
    assert_eq!(call(&client, "CreateTopicRouteTable", &routes(1)).await, large);
    assert_eq!(call(&client, "DeleteTopicRouteTable", &routes(100)).await, "200 OK");
}

/// A hundred tags of a product are taken, ten at a time, and no more.
async fn product_tags(client: &Client, key: &str) {
    let tags = |from: usize, count: usize| {
        let tags = (1..=count).flat_map(|at| {
            let name = format!("ProductTag.{at}.Tag");
            let at = from + at;
            [(format!("{name}Key"), format!("k{at}")), (format!("{name}Value"), "v".to_owned())]
        });
        [made([("ProductKey", key)]), tags.collect()].concat()
    };
    let invalid = "200 iot.common.InvalidFormattedParameter";
    for tens in 0..9 {
        assert_eq!(call(client, "CreateProductTags", &tags(tens * 10, 10)).await, "200 OK");
    }
    assert_eq!(call(client, "CreateProductTags", &tags(90, 9)).await, "200 OK");
    assert_eq!(call(client, "CreateProductTags", &tags(99, 2)).await, invalid);
    assert_eq!(call(client, "CreateProductTags", &tags(99, 1)).await, "200 OK");
    assert_eq!(call(client, "CreateProductTags", &tags(100, 1)).await, invalid);
    assert_eq!(call(client, "UpdateProductTags", &tags(90, 10)).await, "200 OK");
}

async fn database(server: &Server) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(server.folder.join("tidegate.db"));
    // One connection, which knows what it has renamed itself.
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

/// While the database is locked by another process, an application is carried out by one call only.
async fn at_the_same_time(server: &Server, key: &str) {
    let client = server.client();
    let names = made([("ProductKey", key), ("DeviceName.1", "device7")]);
    let parameters: Vec<_> = names.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let checked = client.call("BatchCheckDeviceNames", &parameters).await.json();
    let id = checked["Data"]["ApplyId"].to_string();
    let apply = made([("ProductKey", key), ("ApplyId", &id)]);
    let other = database(server).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let first = call(&client, "BatchRegisterDeviceWithApplyId", &apply);
    let second = call(&client, "BatchRegisterDeviceWithApplyId", &apply);
    tokio::pin!(first, second);
    let refused = tokio::select! {
        outcome = &mut first => (outcome, second),
        outcome = &mut second => (outcome, first),
    };
    assert_eq!(refused.0, "200 iot.device.CreateDeviceTaskIsRunning");
    lock.rollback().await.unwrap();
    assert_eq!(refused.1.await, "200 OK");
    other.close().await;
}

/// A table that is missing, an operation and its parameters, and the code that it answers then.
pub type Broken = (&'static str, &'static str, &'static str, &'static str);

const BROKEN: &[Broken] = &[
    ("sub_devices", "GetThingTopo", "DEVICE PageSize=1 PageNo=1", "device.QueryTopoRelationFailed"),
    ("sub_devices", "RemoveThingTopo", "DEVICE", "device.RemoveTopoRelationFailed"),
    ("devices", "GetGatewayBySubDevice", "DEVICE", "device.QueryTopoRelationFailed"),
    (
        "devices",
        "NotifyAddThingTopo",
        "GwProductKey=PK GwDeviceName=device1 DeviceListStr=[]",
        "device.AddTopoRelationFailed",
    ),
    ("products", "CreateProduct", "ProductName=Other NodeType=0", "prod.CreateProductFailed"),
    ("products", "UpdateProduct", "ProductKey=PK ProductName=Another", "prod.UpdateProductFailed"),
    ("products", "DeleteProduct", "ProductKey=PK", "prod.UpdateProductFailed"),
    ("products", "QueryProduct", "ProductKey=PK", "common.QueryProductActionError"),
    ("devices", "QueryProduct", "ProductKey=PK", "prod.QueryDeviceCountActionError"),
    (
        "products",
        "QueryProductList",
        "CurrentPage=1 PageSize=10",
        "prod.QueryProductListActionError",
    ),
    (
        "product_tags",
        "CreateProductTags",
        "ProductKey=PK ProductTag.1.TagKey=k ProductTag.1.TagValue=v",
        "prod.UpdateProductFailed",
    ),
    (
        "product_tags",
        "UpdateProductTags",
        "ProductKey=PK ProductTag.1.TagKey=k ProductTag.1.TagValue=v",
        "prod.UpdateProductFailed",
    ),
    (
        "product_tags",
        "DeleteProductTags",
        "ProductKey=PK ProductTagKey.1=k",
        "prod.UpdateProductFailed",
    ),
    ("product_tags", "ListProductTags", "ProductKey=PK", "common.QueryProductActionError"),
    (
        "product_tags",
        "ListProductByTags",
        "ProductTag.1.TagKey=k",
        "prod.QueryProductListActionError",
    ),
    ("devices", "RegisterDevice", "ProductKey=PK", "device.CreateDeviceFailed"),
    ("devices", "QueryDeviceDetail", "DEVICE", "common.QueryDeviceActionError"),
    ("devices", "QueryDevice", "ProductKey=PK", "device.QueryDeviceListActionError"),
    ("devices", "GetDeviceStatus", "DEVICE", "device.QueryDeviceStatusFailed"),
    (
        "devices",
        "BatchGetDeviceState",
        "ProductKey=PK DeviceName.1=device1",
        "device.QueryDeviceStatusFailed",
    ),
    ("devices", "DisableThing", "DEVICE", "device.DisableDeviceFailed"),
    ("devices", "EnableThing", "DEVICE", "device.EnableDeviceFailed"),
    ("devices", "DeleteDevice", "DEVICE", "device.DeleteDeviceFailed"),
    ("devices", "QueryDeviceStatistics", "ProductKey=PK", "device.QueryDeviceStatisticsFailed"),
    (
        "device_tags",
        "SaveDeviceProp",
        "DEVICE Props={\"k50\":\"w\"}",
        "device.SaveOrUpdateDevicePropertiesFailed",
    ),
    ("device_tags", "DeleteDeviceProp", "DEVICE PropKey=k50", "device.DeleteDevicePropertyFailed"),
    ("device_tags", "QueryDeviceProp", "DEVICE", "common.QueryDevicePropertyActionError"),
    ("device_tags", "QueryDeviceByTags", "Tag.1.TagKey=k50", "device.QueryDeviceListActionError"),
    (
        "device_applies",
        "BatchCheckDeviceNames",
        "ProductKey=PK DeviceName.1=device8",
        "device.VerifyDeviceFailed",
    ),
    (
        "device_applies",
        "BatchRegisterDevice",
        "ProductKey=PK Count=1",
        "device.ApplyManyDevicesFailed",
    ),
    (
        "device_applies",
        "BatchRegisterDeviceWithApplyId",
        "ProductKey=PK ApplyId=1000",
        "device.ApplyManyDevicesFailed",
    ),
    (
        "device_applies",
        "QueryBatchRegisterDeviceStatus",
        "ProductKey=PK ApplyId=1000",
        "device.QueryDeviceApplyActionError",
    ),
    ("device_applies", "QueryPageByApplyId", "ApplyId=1000", "device.QueryDeviceApplyActionError"),
    (
        "topic_classes",
        "CreateProductTopic",
        "ProductKey=PK TopicShortName=x Operation=PUB",
        "messagebroker.CreateTopicTemplateFailed",
    ),
    (
        "topic_classes",
        "UpdateProductTopic",
        "TopicId=10000 Operation=SUB",
        "messagebroker.UpdateTopicTemplateFailed",
    ),
    (
        "topic_classes",
        "DeleteProductTopic",
        "TopicId=10000",
        "messagebroker.DeleteTopicTemplateFailed",
    ),
    (
        "topic_classes",
        "QueryProductTopic",
        "ProductKey=PK",
        "messagebroker.QueryProductTopicListActionError",
    ),
    (
        "topic_routes",
        "CreateTopicRouteTable",
        "SrcTopic=/PK/device1/update DstTopic.1=/PK/device2/to",
        "messagebroker.CreateTopicRouteFailed",
    ),
    (
        "topic_routes",
        "DeleteTopicRouteTable",
        "SrcTopic=/PK/device1/update DstTopic.1=/PK/device2/to",
        "messagebroker.DeleteTopicRouteFailed",
    ),
    (
        "topic_routes",
        "QueryTopicRouteTable",
        "Topic=/PK/device1/update",
        "messageborker.QueryTopicRouteTableListActionError",
    ),
    (
        "topic_routes",
        "QueryTopicReverseRouteTable",
        "Topic=/PK/device1/update",
        "messageborker.QueryTopicReverseRouteTableListActionError",
    ),
];

/// Calls each operation while its table is missing.
pub async fn without_tables(server: &Server, broken: &[Broken], parameters: impl Fn(&str) -> Made) {
    let client = server.client();
    let database = database(server).await;
    for (table, action, text, code) in broken {
        let rename = |from: &str, to: &str| {
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}")))
        };
        rename(table, "hidden").execute(&database).await.unwrap();
        let outcome = call(&client, action, &parameters(text)).await;
        rename("hidden", table).execute(&database).await.unwrap();
        assert_eq!(outcome, format!("200 iot.{code}"), "{action} without {table}");
    }
    database.close().await;
}

/// Parameters that are written `Name=value Name=value`.
pub fn spaced(text: &str) -> Made {
    let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn broken_tables(server: &Server, key: &str) {
    let client = server.client();
    let parameters = |text: &str| {
        spaced(&text.replace("DEVICE", "ProductKey=PK DeviceName=device1").replace("PK", key))
    };
    // There is room for one more topic class only after one is gone.
    let gone = made([("TopicId", "10049")]);
    assert_eq!(call(&client, "DeleteProductTopic", &gone).await, "200 OK");
    without_tables(server, BROKEN, parameters).await;
    // What failed has changed nothing: neither the database nor what is kept in memory.
    let class = parameters("ProductKey=PK TopicShortName=x Operation=PUB");
    assert_eq!(call(&client, "CreateProductTopic", &class).await, "200 OK");
    assert_eq!(call(&client, "DisableThing", &parameters("DEVICE")).await, "200 OK");
    assert_eq!(server.registry.tag(key, "device1", "k50").as_deref(), Some("v"));
}

#[tokio::test]
async fn rules_and_connections_are_told_of_changes() {
    told_of_changes(Home::new()).await;
}

#[tokio::test]
async fn rules_and_connections_are_told_of_changes_in_postgres() {
    if let Some(home) = Home::postgres().await {
        told_of_changes(home).await;
    }
}

async fn told_of_changes(home: Home) {
    let (server, key) = furnished_at(home).await;
    let client = server.client();
    let device = [("ProductKey", key.as_str()), ("DeviceName", "device1")];
    for action in ["DisableThing", "DisableThing", "EnableThing", "DeleteDevice"] {
        assert_eq!(client.call(action, &device).await.outcome(), "200 OK");
    }
    let batch = [("ProductKey", key.as_str()), ("Count", "3")];
    assert_eq!(client.call("BatchRegisterDevice", &batch).await.outcome(), "200 OK");
    let deleted = client.call("DeleteProduct", &[("ProductKey", &key)]).await;
    assert_eq!(deleted.outcome(), "200 OK");
    let messages = std::mem::take(&mut *server.inbox.messages.lock().unwrap());
    let told: Vec<_> = messages
        .iter()
        .map(|message| {
            let body: Value = serde_json::from_slice(&message.payload).unwrap();
            let name = body["deviceName"].as_str().unwrap().to_owned();
            assert_eq!(message.topic.as_str(), format!("/{key}/{name}/thing/lifecycle"));
            assert_eq!(message.device_name(), Some(name.as_str()));
            assert_eq!(body["productKey"], *key);
            assert_eq!(body["iotId"].as_str().map(str::len), Some(30));
            assert_eq!(body["deviceSecret"].is_string(), body["action"] == "create");
            let name = if name.starts_with("device") { name } else { "made".to_owned() };
            format!("{} {name}", body["action"].as_str().unwrap())
        })
        .collect();
    let (first, last) = told.split_at(8);
    assert_eq!(
        first,
        [
            "create device1",
            "create device2",
            "disable device1",
            "enable device1",
            "delete device1",
            "create made",
            "create made",
            "create made"
        ]
    );
    let mut last = last.to_vec();
    last.sort();
    assert_eq!(last, ["delete device2", "delete made", "delete made", "delete made"]);
    let cut = server.cut.lock().unwrap().clone();
    assert_eq!(cut[..2], [format!("device1&{key}"), format!("device1&{key}")]);
    assert_eq!(cut.len(), 6);
    server.end().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    there_after_a_restart(Home::new()).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart_with_postgres() {
    if let Some(home) = Home::postgres().await {
        long_lists_of(home).await;
    }
    if let Some(home) = Home::postgres().await {
        there_after_a_restart(home).await;
    }
}

/// Long lists are taken and refused there as well.
async fn long_lists_of(home: Home) {
    let (server, key) = furnished_at(home).await;
    long_lists(&server, &key).await;
    server.end().await;
}

async fn there_after_a_restart(home: Home) {
    let (server, key) = furnished_at(home).await;
    let client = server.client();
    let device = [("ProductKey", key.as_str()), ("DeviceName", "device1")];
    let tags = [device[0], device[1], ("Props", "{\"color\":\"red\"}")];
    assert_eq!(client.call("SaveDeviceProp", &tags).await.outcome(), "200 OK");
    assert!(server.registry.came(&key, "device1", 1_000, [10, 0, 0, 9].into(), 1));
    let (from, to) = (format!("/{key}/device1/update"), format!("/{key}/device2/get"));
    let route = [("SrcTopic", from.as_str()), ("DstTopic.1", to.as_str())];
    assert_eq!(client.call("CreateTopicRouteTable", &route).await.outcome(), "200 OK");
    let second = [device[0], ("DeviceName", "device2")];
    assert_eq!(client.call("DisableThing", &second).await.outcome(), "200 OK");
    assert_eq!(server.registry.flush().await.unwrap(), 1);
    assert_eq!(server.registry.flush().await.unwrap(), 0);
    let tag = [device[0], ("ProductTag.1.TagKey", "line"), ("ProductTag.1.TagValue", "3")];
    assert_eq!(client.call("CreateProductTags", &tag).await.outcome(), "200 OK");
    let before = client.call("QueryDevice", &[device[0]]).await.json();

    let server = Server::open(server.stop().await, |_| ()).await;
    let registry = &server.registry;
    assert_eq!(registry.tag(&key, "device1", "color").as_deref(), Some("red"));
    assert!(registry.is_active(&key, "device1") && !registry.is_online(&key, "device1"));
    assert!(registry.may_connect(&key, "device1") && !registry.may_connect(&key, "device2"));
    let routes = registry.routes_from(&from).unwrap();
    assert_eq!(routes.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(), [&to]);
    assert_eq!(registry.product(&key).unwrap().topics.len(), 6);
    assert_eq!(registry.device_count(), 2);
    let client = server.client();
    let mut after = client.call("QueryDevice", &[device[0]]).await.json();
    after["RequestId"] = before["RequestId"].clone();
    assert_eq!(after["Data"]["DeviceInfo"][0], before["Data"]["DeviceInfo"][0]);
    let tags = client.call("ListProductTags", &device[..1]).await.json();
    assert_eq!(tags["Data"]["ProductTag"][0]["TagValue"], "3");
    let detail = client.call("QueryDeviceDetail", &device).await.json();
    assert_eq!(detail["Data"]["Status"], "OFFLINE");
    assert_eq!(detail["Data"]["UtcOnline"], "1970-01-01T00:00:01.000Z");
    assert_eq!(detail["Data"]["IpAddress"], "10.0.0.9");
    server.end().await;
}
