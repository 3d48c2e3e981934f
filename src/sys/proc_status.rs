//! Reads /proc/PID/status and /proc/PID/stat, as proc(5) describes them.

use std::path::Path;

use nix::unistd::Pid;

use super::key_value::{find_value, parse_kilobytes};

/// Returns whether /proc is mounted and shows this process.
#[must_use]
pub fn is_proc_mounted() -> bool {
    Path::new("/proc/self/fd").exists()
}

/// Returns the value of one field of this process, without the blanks around it; `None` if there is no /proc.
#[must_use]
pub fn read_field(name: &str) -> Option<String> {
    read_field_in("/proc/self/status", name)
}

/// Returns a size that this process has, in bytes.
#[must_use]
pub fn read_bytes(name: &str) -> Option<u64> {
    parse_kilobytes(&read_field(name)?)
}

/// Returns a size that another process has, in bytes; `None` once it is a zombie.
#[must_use]
pub fn read_bytes_of(pid: Pid, name: &str) -> Option<u64> {
    parse_kilobytes(&read_field_in(&format!("/proc/{pid}/status"), name)?)
}

/// Returns when a process was started, in ticks since boot (field 22 of /proc/PID/stat below `root`). Start time and
/// process id together are never reused. Returns `None` if the process has ended, reaped or not.
#[must_use]
pub fn start_time(root: &Path, pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(root.join(format!("proc/{pid}/stat"))).ok()?;
    let mut fields = stat_fields(&stat);
    let state = fields.next()?;
    (state != "Z" && state != "X").then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// Returns the fields of /proc/PID/stat from the third, the state, on. The second, a name, may contain any character.
pub fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    let after = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
    after.split_ascii_whitespace()
}

fn read_field_in(path: &str, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(path).ok()?;
    find_value(&status, name).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::read_field;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let pid = read_field("Pid").and_then(|pid| pid.parse().ok());
        assert_eq!(pid, Some(std::process::id()));
        assert_eq!(read_field("Pi"), None);
    }
}
