//! libFuzzer's entry to the target `topic_filter`; nothing else.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::run("topic_filter", data));
