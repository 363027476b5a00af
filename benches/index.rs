//! Topic look-ups: among 1 000 and 100 000 filters, against matching one by one, in one run.
//!
//! Promise: among 100 000 filters at most 3 times the time among 1 000.

use std::hint::black_box;
use std::time::Instant;

use connectors::contract::{Topic, TopicFilter, TopicLimits};
use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::engine::FilterIndex;

/// 60 % `/pk/+/…`, 25 % of one device, 15 % ending in `#`; a mix as fleets have it.
fn filters(count: usize) -> Vec<TopicFilter> {
    let text = |n: usize| match n % 20 {
        0..=11 => format!("/pk{}/+/user/data{}", n / 20, n % 7),
        12..=14 => format!("/pk{}/dev{n}/user/data", n / 20),
        15 | 16 => format!("/pk{}/dev{n}/#", n / 20),
        _ => format!("/pk{}/+/thing/{}/#", n / 20, n % 5),
    };
    (0..count)
        .map(|n| TopicFilter::parse(text(n), TopicLimits::default()).expect("filter"))
        .collect()
}

fn topics(filters: usize) -> Vec<Topic> {
    let text = |n: usize| format!("/pk{}/dev{}/user/data{}", n % (filters / 20), n, n % 7);
    (0..1024).map(|n| Topic::parse(text(n * 37), TopicLimits::default()).expect("topic")).collect()
}

fn index(filters: &[TopicFilter]) -> FilterIndex {
    let mut index = FilterIndex::default();
    for (id, filter) in filters.iter().enumerate() {
        index.insert(filter, u32::try_from(id).expect("few"));
    }
    index
}

/// Nanoseconds per look-up, the least of several rounds.
fn time(index: &FilterIndex, topics: &[Topic]) -> f64 {
    let mut ids = Vec::new();
    let mut best = f64::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        for topic in topics {
            ids.clear();
            index.lookup(black_box(topic), &mut ids);
            black_box(&ids);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / topics.len() as f64);
    }
    best
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    for count in [1_000, 10_000, 100_000] {
        let (index, topics) = (index(&filters(count)), topics(count));
        let mut ids = Vec::new();
        let mut turn = 0;
        group.bench_function(format!("lookup among {count}"), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % topics.len();
                ids.clear();
                index.lookup(black_box(&topics[turn]), &mut ids);
            });
        });
    }
    let (all, some) = (filters(1_000), topics(1_000));
    let mut turn = 0;
    group.bench_function("baseline: one by one among 1000", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % some.len();
            all.iter().filter(|filter| filter.matches(black_box(&some[turn]))).count()
        });
    });
    group.finish();
    if !std::env::args().any(|argument| argument == "--test") {
        ratio();
    }
}

fn ratio() {
    let few = (index(&filters(1_000)), topics(1_000));
    let many = (index(&filters(100_000)), topics(100_000));
    let mut ratios = Vec::new();
    for _ in 0..7 {
        ratios.push(time(&many.0, &many.1) / time(&few.0, &few.1));
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio look-up among 100000 / among 1000 filters = {:.2} (promise: <= 3)", ratios[3]);
}

criterion_group!(benches, lookups);
criterion_main!(benches);
