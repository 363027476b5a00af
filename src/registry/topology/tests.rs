//! Topologies in both stores.

use super::*;
use crate::{Limits, NewDevice, NewProduct};
use rule::store::{Server, Store};
use schema::Schema;

#[path = "../../../tests/schema.rs"]
mod schema;
#[path = "../../../tests/services.rs"]
mod services;

#[tokio::test]
async fn topologies_are_kept_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    topologies_are_kept(Store::open(folder.path()).await.expect("a store")).await;
}

#[tokio::test]
async fn topologies_are_kept_in_postgres() {
    if let Some(schema) = Schema::new().await {
        let server = Server::parse(&schema.url()).expect("a server");
        topologies_are_kept(Store::open_postgres(&server, None).await.expect("a store")).await;
    }
}

async fn product(registry: &Registry, name: &str, node_type: u8) -> String {
    let product = NewProduct { node_type, ..NewProduct::named(name) };
    registry.create_product(product, 0).await.expect("product").key.clone()
}

async fn register(registry: &Registry, key: &str, name: &str) {
    let (product_key, device_name) = (key.to_owned(), Some(name.to_owned()));
    let device = NewDevice { product_key, device_name, nickname: None };
    registry.register(device, 0).await.expect("device");
}

async fn topologies_are_kept(store: Store) {
    let registry = Registry::open(store.clone(), Limits::default()).await.expect("registry");
    let gateways = product(&registry, "gateways", 1).await;
    let meters = product(&registry, "meters", 0).await;
    for name in ["gateway1", "gateway2"] {
        register(&registry, &gateways, name).await;
    }
    for name in ["meter1", "meter2"] {
        register(&registry, &meters, name).await;
    }
    let (one, two) = ((&*gateways, "gateway1"), (&*gateways, "gateway2"));
    let names = |names: &[&str]| -> Vec<(String, String)> {
        names.iter().map(|name| (meters.clone(), (*name).to_owned())).collect()
    };
    for _ in 0..2 {
        let left = registry.attach(one, &names(&["meter1", "meter2"])).await.expect("room");
        assert_eq!(left, []);
    }
    let unknown = registry.attach(one, &names(&["meter1", "nobody"])).await;
    assert!(matches!(unknown, Err(RegistryError::NoDevice(_))), "{unknown:?}");
    let itself = registry.attach(one, &[(gateways.clone(), "gateway2".to_owned())]).await;
    assert!(matches!(itself, Err(RegistryError::NodeType(..))), "{itself:?}");
    let under_a_meter = registry.attach((&meters, "meter1"), &names(&["meter2"])).await;
    assert!(matches!(under_a_meter, Err(RegistryError::NodeType(..))), "{under_a_meter:?}");
    let left = registry.attach(two, &names(&["meter2"])).await.expect("moved");
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0, &*left[0].1.device_name), (0, "gateway1"));
    let (page, total) = registry.sub_devices(one, 10, 0).await.expect("read");
    assert_eq!((page.len(), total, &*page[0].device_name), (1, 1, "meter1"));
    assert_eq!(registry.sub_devices(one, 10, 1).await.expect("read").0, []);

    // Another start sees the same, also of a gateway that is deleted then.
    let again = Registry::open(store.clone(), Limits::default()).await.expect("registry");
    assert!(again.is_attached(one, (&meters, "meter1")));
    assert!(again.is_attached(two, (&meters, "meter2")));
    again.delete_device(&gateways, "gateway2").await.expect("deleted");
    assert_eq!(again.gateway_of(&meters, "meter2"), None);
    assert!(again.detach(&meters, "meter1").await.expect("detached").is_some());
    assert!(again.detach(&meters, "meter1").await.expect("it had none").is_none());
    again.attach(one, &names(&["meter1", "meter2"])).await.expect("attached");
    again.delete_device(&meters, "meter1").await.expect("deleted");
    register(&again, &meters, "meter1").await;
    assert_eq!(again.gateway_of(&meters, "meter1"), None, "another device of that name");
    let gone = again.delete_product(&gateways).await.expect("deleted");
    assert_eq!((gone.len(), &gone[0].gateway), (1, &None));
    assert_eq!(again.gateway_of(&meters, "meter2"), None);
    let last = Registry::open(store.clone(), Limits::default()).await.expect("registry");
    assert_eq!(last.gateway_of(&meters, "meter2"), None);
    let more = product(&last, "more", 1).await;
    register(&last, &more, "gateway3").await;
    last.attach((&more, "gateway3"), &names(&["meter2"])).await.expect("attached");
    let gone = last.delete_product(&meters).await.expect("deleted");
    let of = |name: &str| gone.iter().find(|gone| *gone.device_name == *name).expect("gone");
    let gateway = of("meter2").gateway.as_deref().expect("its gateway");
    assert_eq!((&*gateway.device_name, &of("meter1").gateway), ("gateway3", &None));
    store.close().await;
}
