//! Reads lines `name: value` of the kernel's text files: /proc/meminfo, /proc/cpuinfo, /proc/PID/status.

/// Returns the value of the first line with that name, without the blanks around it.
#[must_use]
pub fn find_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then(|| value.trim())
    })
}

/// Parses a size as the kernel writes it, such as `24684092 kB`, and returns it in bytes.
#[must_use]
pub fn parse_kilobytes(value: &str) -> Option<u64> {
    let number: u64 = value.strip_suffix("kB")?.trim_end().parse().ok()?;
    number.checked_mul(1024)
}

/// Returns MemAvailable of /proc/meminfo in bytes; `None` before Linux 3.14.
#[must_use]
pub fn mem_available(meminfo: &str) -> Option<u64> {
    find_value(meminfo, "MemAvailable").and_then(parse_kilobytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_meminfo_is_read_in_bytes() {
        let text = "MemTotal:       24684092 kB\nMemFree:  3 kB\nHugePages_Total:       0\n";
        let bytes = |name| find_value(text, name).and_then(parse_kilobytes);
        assert_eq!(bytes("MemTotal"), Some(24_684_092 << 10));
        assert_eq!(bytes("MemFree"), Some(3 << 10));
        for missing in ["MemAvailable", "Mem", "HugePages_Total"] {
            assert_eq!(bytes(missing), None);
        }
    }

    #[test]
    fn available_memory_is_read() {
        assert_eq!(
            mem_available("MemFree: 1 kB\nMemAvailable:    24105 kB\n"),
            Some(24105 * 1024)
        );
        assert_eq!(mem_available("MemFree: 1 kB\n"), None);
    }
}
