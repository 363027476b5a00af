//! libFuzzer's entry to the target `api_request`; nothing else.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::run("api_request", data));
