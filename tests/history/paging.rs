//! Pages of a history hold exactly what was posted, for any size of pages, any order, and any times that
//! are the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate::history::{Order, WITHIN, Window};

use super::{NOW_MS, Place, Rig};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A post: a property and a time of a few. Some are left to be written before the next.
type Posted = (usize, u64, bool);

#[derive(Debug, Clone)]
struct Case {
    posted: Vec<Posted>,
    size: usize,
    descending: bool,
    /// Which properties are asked for together.
    asked: Vec<usize>,
    /// The span that is asked for, in times.
    from: u64,
    to: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let posted = prop::collection::vec((0..3_usize, 0..6_u64, prop::bool::weighted(0.2)), 0..40);
    let asked = prop::sample::subsequence(vec![0, 1, 2], 1..=3);
    (posted, 1..8_usize, any::<bool>(), asked, 0..6_u64, 0..6_u64).prop_map(
        |(posted, size, descending, asked, a, b)| Case {
            posted,
            size,
            descending,
            asked,
            from: a.min(b),
            to: a.max(b),
        },
    )
}

/// What is kept of each property: times, and the number of the post.
type Kept = BTreeMap<usize, Vec<(u64, String)>>;

/// What a client gets that asks for one page after the other as the guide says.
async fn walk(rig: &Rig, case: &Case, names: &[String]) -> Kept {
    let asked: Vec<&str> = case.asked.iter().map(|at| names[*at].as_str()).collect();
    let order = if case.descending { Order::Descending } else { Order::Ascending };
    let (from, to) = (NOW_MS + case.from, NOW_MS + case.to);
    let (mut start, end) = if case.descending { (to, from) } else { (from, to) };
    let mut got = Kept::new();
    loop {
        let window = Window::new(start, end, order);
        assert!(window.is_straight(), "{case:?}: {start} to {end}");
        let page = rig.page(&asked, window, case.size).await;
        assert!(page.series.iter().all(|rows| rows.len() <= case.size));
        assert!(!page.more || page.series.iter().any(|rows| !rows.is_empty()), "it goes on");
        for (at, rows) in case.asked.iter().zip(&page.series) {
            let rows = rows.iter().map(|row| (row.mark.time_ms - NOW_MS, row.value.clone()));
            got.entry(*at).or_default().extend(rows);
        }
        if !page.more {
            return got;
        }
        start = page.next;
    }
}

async fn check(rig: &Rig, case: &Case, number: u64) {
    let names: Vec<String> = NAMES.iter().map(|name| format!("{name}{number}")).collect();
    let mut want = Kept::new();
    for at in &case.asked {
        want.entry(*at).or_default();
    }
    for (nth, (at, time, write)) in case.posted.iter().enumerate() {
        let value = nth.to_string();
        rig.history.offer(rig.document(&[(&names[*at], NOW_MS + time, &value)]));
        if (case.from..=case.to).contains(time)
            && let Some(kept) = want.get_mut(at)
        {
            kept.push((*time, value));
        }
        if *write {
            rig.all(&names[*at]).await;
        }
    }
    for kept in want.values_mut() {
        // In the order of their times, then in that in which they came.
        kept.sort_by_key(|(time, _)| *time);
        if case.descending {
            kept.reverse();
        }
    }
    assert_eq!(walk(rig, case, &names).await, want, "{case:?}");
}

async fn any_pages(place: Place, cases: u32) {
    let rig = Rig::new(&place).await;
    let number = AtomicU64::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let run = runner.run(&case(), |case| {
            let number = number.fetch_add(1, Ordering::Relaxed);
            handle.block_on(check(&rig, &case, number));
            Ok(())
        });
        run.unwrap_or_else(|problem| panic!("{problem}"));
    });
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_exactly_what_was_posted() {
    any_pages(Place::new(), 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_exactly_what_was_posted_on_postgres() {
    let Some(place) = Place::postgres().await else { return };
    any_pages(place, 40).await;
}

/// Values of a millisecond are kept up to a bound, and what is beyond is counted.
#[tokio::test]
async fn a_millisecond_holds_so_many() {
    let place = Place::new();
    let rig = Rig::new(&place).await;
    for value in 0..WITHIN + 10 {
        rig.history.offer(rig.document(&[("v", NOW_MS, &value.to_string())]));
    }
    rig.until(|rig| rig.history.counts().written == WITHIN - 1).await;
    let all = rig.all("v").await;
    assert_eq!(all.len() as u64, WITHIN - 1);
    assert!(all.iter().enumerate().all(|(at, (_, value))| *value == at.to_string()));
    assert_eq!(rig.history.counts().dropped, [0, 0, 0, 0, 11, 0]);
    for order in [Order::Ascending, Order::Descending] {
        let (mut start, mut got) = (NOW_MS, 0);
        loop {
            let page = rig.page(&["v"], Window::new(start, NOW_MS, order), 50).await;
            got += page.series[0].len() as u64;
            start = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(got, WITHIN - 1, "{order:?}");
    }
    rig.stop().await;
}
