//! Services that some tests need; `scripts/services` starts them and says where they are.

/// The address of a service. Without it the test ends here: skipped by name, or failed when
/// `TIDEGATE_REQUIRE_SERVICES=1`.
pub fn service(name: &str, var: &str) -> Option<String> {
    let found = std::env::var(var).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        let required = std::env::var("TIDEGATE_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "{name} is required, but {var} is not set");
        eprintln!("skipped: {name} ({var} is not set)");
    }
    found
}
