//! YAML that is made to be hard to read: aliases of aliases, depth, size.

use std::path::Path;
use std::time::Duration;

use tidegate::yaml::Document;

/// The stack of the threads that read it.
const STACK: usize = 512 << 10;

/// Processor time that this thread has used; a busy machine makes it no longer.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

#[test]
fn r25_bombs_in_yaml() {
    let parse = |text: String| {
        let work = move || {
            let start = used();
            let result = Document::parse(Path::new("x.yaml"), &text);
            let took = used() - start;
            assert!(took < Duration::from_secs(20), "it took {took:?}");
            result.map(drop).map_err(|problem| problem.to_string())
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
        thread.expect("a thread").join().expect("no panic")
    };
    let mut laughs = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let row = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs += &format!("b{level}: &a{level} [{row}]\n");
    }
    let refused = parse(laughs).expect_err("aliases");
    assert!(refused.contains("aliases"), "{refused}");
    for text in [
        "[".repeat(200_000),
        "{a: ".repeat(200_000),
        (0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
        "- ".repeat(100_000),
    ] {
        let refused = parse(text).expect_err("deep");
        assert!(refused.len() < 600, "{refused}");
    }
    parse(format!("a: \"{}\"", "x".repeat(3 << 20))).expect("a long text is a text");
    parse("x".repeat(5 << 20)).expect_err("larger than a file may be");
}
