//! Connections that come and go, told of in any order.

use rule::store::Store;

use crate::{Limits, NewDevice, NewProduct, Registry};

/// What the broker tells of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Came(u64),
    Went(u64),
}

/// All orders of some things.
fn orders(of: &[Told]) -> Vec<Vec<Told>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in of.iter().enumerate() {
        let rest: Vec<_> = [&of[..at], &of[at + 1..]].concat();
        all.extend(orders(&rest).into_iter().map(|rest| [vec![*first], rest].concat()));
    }
    all
}

/// A device's last connection decides whether it is there, whichever way the news of it and of those
/// before overtake each other.
#[tokio::test]
async fn the_last_connection_decides() {
    use Told::{Came, Went};
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).await.expect("a store");
    let registry = Registry::open(store, Limits::default()).await.expect("registry");
    let product = NewProduct::named("product");
    let key = registry.create_product(product, 0).await.expect("product").key.clone();
    let device = NewDevice {
        product_key: key.clone(),
        device_name: Some("device1".to_owned()),
        nickname: None,
    };
    registry.register(device, 0).await.expect("device");
    let from = std::net::IpAddr::from([127, 0, 0, 1]);
    let mut before = 0;
    for (news, online) in [
        (&[Came(1), Went(1), Came(2), Went(2)][..], false),
        (&[Came(1), Went(1), Came(2)], true),
        // One that was taken over is never told to have gone.
        (&[Came(1), Came(2), Went(2)], false),
        (&[Came(1), Came(2), Came(3), Went(2)], true),
    ] {
        for order in orders(news) {
            for told in &order {
                match told {
                    Came(number) => {
                        registry.came(&key, "device1", 7, from, before + number);
                    }
                    Went(number) => {
                        registry.went(&key, "device1", before + number);
                    }
                }
            }
            assert_eq!(registry.is_online(&key, "device1"), online, "{order:?}");
            before += 10;
            registry.went(&key, "device1", before);
        }
    }
}
