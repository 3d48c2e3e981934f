//! What proc(5) says of this process in /proc/self/status.

/// The value of one field, without the blanks around it; `None` where there is no /proc.
#[must_use]
pub fn field(name: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let pid = field("Pid").and_then(|pid| pid.parse().ok());
        assert_eq!(pid, Some(std::process::id()));
        assert_eq!(field("Pi"), None);
    }
}
