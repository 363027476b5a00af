//! Shadows and last values in both stores.

use super::super::values::LastValues;
use super::*;
use crate::tests::schema::Schema;
use registry::{Limits, NewDevice, NewProduct, Registry};
use rule::store::{Server, Store};

#[tokio::test]
async fn things_are_kept_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    things_are_kept(Store::open(folder.path()).await.expect("a store")).await;
}

#[tokio::test]
async fn things_are_kept_in_postgres() {
    if let Some(schema) = Schema::new().await {
        let server = Server::parse(&schema.url()).expect("a server");
        things_are_kept(Store::open_postgres(&server, None).await.expect("a store")).await;
    }
}

async fn things_are_kept(store: Store) {
    let registry = Registry::open(store.clone(), Limits::default()).await.expect("registry");
    let product = NewProduct { node_type: 1, ..NewProduct::named("product") };
    let pk = registry.create_product(product, 0).await.expect("product").key.clone();
    let (product_key, device_name) = (pk.clone(), Some("sub".to_owned()));
    let device = NewDevice { product_key, device_name, nickname: None };
    registry.register(device, 0).await.expect("device");
    let sub: Name<'_> = (&pk, "sub");

    let shadows = Shadows::new(store.pool().clone());
    for _ in 0..2 {
        assert!(shadows.write(sub, &Shadow::default()).await.expect("written"));
    }
    let shadow = shadows.read(sub).await.expect("read");
    assert_eq!(shadow.document(), Shadow::default().document());

    let values = LastValues::new(store.pool().clone());
    let long = "x".repeat(10_000);
    for value in ["1", "2"] {
        let posted = [("b", value, 7), ("a", "\"描述\"", 8), ("n\0", "1", 9), (&*long, "1", 9)];
        values.take(&format!("{pk}/sub"), posted.into_iter());
        values.write().await.expect("written");
    }
    let kept = values.of(&pk, "sub").await.expect("read");
    let kept: Vec<_> =
        kept.iter().map(|last| (&*last.identifier, &*last.value, last.time_ms)).collect();
    assert_eq!(kept, [("a", "\"描述\"", 8), ("b", "2", 7)]);
    assert_eq!(values.lost(), 4);
    store.close().await;
}
