//! Paths that tests and fuzzers look up in any document.

/// As paths of statements, and as serde_json's lookup takes them.
pub const PATHS: &[&str] = &[
    "$",
    "a",
    "b",
    "a.b",
    "a.b.c",
    "a[0]",
    "a[1].b",
    "a[-1]",
    "a[-2].a",
    "b[0][0]",
    "b[-1][-1].c",
    "温度",
    "温度.a",
    "$[0]",
    "$[-1].a",
    "c.d",
    "c",
    "a.a.a",
    "d[2]",
    "d[-3]",
];
