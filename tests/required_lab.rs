//! Decides whether a test that cannot run here is skipped or fails.

/// # Panics
/// With `MMAPCP_REQUIRE_LAB=1`: the test fails, with this reason.
pub(crate) fn assert_may_skip(reason: &str) {
    let is_required = std::env::var_os("MMAPCP_REQUIRE_LAB").is_some_and(|value| value == "1");
    assert!(!is_required, "MMAPCP_REQUIRE_LAB=1, but {reason}");
}
