//! What is kept, for how long, and what is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate::history::{Called, Kind, Order, Service, Settings, Window};

use super::{NOW_MS, Place, Rig};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Values as they were posted, over a restart, with both stores.
async fn over_a_restart(place: Place) {
    let values = ["18446744073709551615", "-9223372036854775808", "1.50", r#""a\u0000""#, "[1,{}]"];
    let rig = Rig::new(&place).await;
    for (at, value) in values.iter().enumerate() {
        rig.history.offer(rig.document(&[("v", NOW_MS + at as u64, value)]));
    }
    rig.stop().await;
    let rig = Rig::new(&place).await;
    rig.history.offer(rig.document(&[("v", NOW_MS, "0"), ("v/2", NOW_MS, "2")]));
    let mut want: Vec<_> =
        values.iter().enumerate().map(|(at, v)| (NOW_MS + at as u64, (*v).to_owned())).collect();
    want.insert(1, (NOW_MS, "0".to_owned()));
    assert_eq!(rig.all("v").await, want);
    assert_eq!(rig.all("v/2").await.len(), 1);
    assert_eq!(rig.all("none").await, []);
    assert_eq!(rig.history.counts().dropped, [0; 6]);
    rig.stop().await;
}

#[tokio::test]
async fn values_are_kept_as_posted() {
    over_a_restart(Place::new()).await;
}

#[tokio::test]
async fn values_are_kept_as_posted_on_postgres() {
    if let Some(place) = Place::postgres().await {
        over_a_restart(place).await;
    }
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let place = Place::new();
    let settings = Settings { keep: Duration::from_secs(10 * 24 * 60 * 60), max_bytes: None };
    let rig = Rig::open(&place, settings, None).await;
    for day in 0..20 {
        rig.history.offer(rig.document(&[("v", NOW_MS - day * DAY_MS, "1"), ("w", NOW_MS, "1")]));
    }
    rig.history.offer(rig.document(&[("old", NOW_MS - 9 * DAY_MS, "1")]));
    rig.history.offer(rig.document(&[("ahead", NOW_MS + DAY_MS + 1, "1")]));
    assert_eq!(rig.all("v").await.len(), 11);
    let counts = rig.history.counts();
    assert_eq!((counts.written, counts.dropped), (32, [0, 0, 9, 1, 0, 0]));
    // Whoever asks sees no more of it at once, and then it is deleted.
    rig.now_ms.store(NOW_MS + 8 * DAY_MS, Ordering::Relaxed);
    assert_eq!(rig.all("v").await.len(), 3);
    assert_eq!(rig.all("old").await, []);
    rig.until(|rig| rig.history.counts().bytes > 0).await;
    rig.now_ms.store(NOW_MS, Ordering::Relaxed);
    let wait = async {
        while rig.all("v").await.len() != 3 || !rig.all("old").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it is deleted");
    // A series that is gone comes again.
    rig.history.offer(rig.document(&[("old", NOW_MS, "2")]));
    assert_eq!(rig.all("old").await, [(NOW_MS, "2".to_owned())]);
    rig.stop().await;
}

#[tokio::test]
async fn a_file_that_is_too_large_loses_the_oldest() {
    let place = Place::new();
    let most = 512 << 10;
    let settings = Settings { max_bytes: Some(most), ..Settings::default() };
    let rig = Rig::open(&place, settings, None).await;
    let text = format!("\"{}\"", "x".repeat(1000));
    for hour in 0..600_u64 {
        let time = NOW_MS - (600 - hour) * 60 * 60 * 1_000;
        rig.history.offer(rig.document(&[("v", time, &text)]));
    }
    rig.until(|rig| rig.history.counts().written == 600).await;
    rig.now_ms.fetch_add(60 * 60 * 1_000, Ordering::Relaxed);
    rig.until(|rig| (1..=most).contains(&rig.history.counts().bytes)).await;
    let all = rig.all("v").await;
    assert!((100..600).contains(&all.len()), "{}", all.len());
    assert_eq!(all.last().expect("a value").0, NOW_MS - 60 * 60 * 1_000, "the newest stay");
    rig.stop().await;
}

#[tokio::test]
async fn an_answer_finds_its_call() {
    let place = Place::new();
    let rig = Rig::new(&place).await;
    let call = |id: u64, input: Option<&str>, output: Option<&str>| {
        let input = input.map(|text| serde_json::from_str::<Box<_>>(text).expect("JSON"));
        rig.history.called(&Called {
            device: rig.id.as_str().into(),
            identifier: "reboot".into(),
            id,
            time_ms: NOW_MS,
            input: input.as_deref(),
            output: output.map(Into::into),
        });
    };
    call(1, Some(r#"{"in":1.0}"#), None);
    call(2, Some(r#"{ "in": 2 }"#), None);
    call(3, Some("{}"), Some("at once"));
    call(2, None, Some("second"));
    call(9, None, Some("of none"));
    let window = Window::new(NOW_MS, NOW_MS, Order::Ascending);
    let page = rig.history.page(&rig.id, Kind::Service, &["reboot"], window, 10).await;
    let page = page.expect("a page").expect("it is on");
    let calls: Vec<_> = page.series[0]
        .iter()
        .map(|row| {
            let service = Service::read(&row.value).expect("a call");
            (service.id, service.input.get().to_owned(), service.output.map(|o| o.into_owned()))
        })
        .collect();
    let want = [
        (1, r#"{"in":1.0}"#.to_owned(), None),
        (2, r#"{ "in": 2 }"#.to_owned(), Some("second".to_owned())),
        (3, "{}".to_owned(), Some("at once".to_owned())),
    ];
    assert_eq!(calls, want);
    rig.stop().await;
}
