//! What proc(5) says of a process in /proc/PID/status.

use nix::unistd::Pid;

/// The value of one field of this process, without the blanks around it; `None` where there is no /proc.
#[must_use]
pub fn field(name: &str) -> Option<String> {
    field_in("/proc/self/status", name)
}

/// A size that this process has, in bytes.
#[must_use]
pub fn size(name: &str) -> Option<u64> {
    bytes(&field(name)?)
}

/// A size that another process has, in bytes; `None` once it is a zombie.
#[must_use]
pub fn size_of_process(pid: Pid, name: &str) -> Option<u64> {
    bytes(&field_in(&format!("/proc/{pid}/status"), name)?)
}

/// When a process was started, in ticks since boot (field 22 of /proc/PID/stat); with its number it names a process for
/// good. `None` when there is none, or it is a zombie.
#[must_use]
pub fn start_time(pid: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn field_in(path: &str, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(path).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

fn bytes(value: &str) -> Option<u64> {
    let kilobytes: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
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
