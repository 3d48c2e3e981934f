//! Limits on the number of processes: how many more are allowed, and which limit does not allow them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::forklat::error::ForklatError;

/// Number of the first process numbers that the kernel reserves once it has used all numbers: RESERVED_PIDS in
/// kernel/pid.c.
const RESERVED: u64 = 300;

/// CAP_SYS_ADMIN and CAP_SYS_RESOURCE. With one of them, fork(2) ignores RLIMIT_NPROC.
const NPROC_EXEMPT_CAPS: u64 = 1 << 21 | 1 << 24;

/// Largest distance to a limit that is taken for the cause when fork(2) fails, since other processes start and end
/// meanwhile.
const NEAR_LIMIT_MARGIN: u64 = 16;

/// A limit on the number of processes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProcessLimit {
    name: String,
    max: u64,
    used: u64,
}

/// Refuses `more` processes if a known limit does not allow them.
pub(super) fn allow(limits: &[ProcessLimit], more: u64) -> Result<(), ForklatError> {
    match limits.iter().find(|l| l.used.saturating_add(more) > l.max) {
        None => Ok(()),
        Some(ProcessLimit { name, max, used }) => Err(format!(
            "no room for {more} more processes: {name} is {max}, and {used} are in use"
        )
        .into()),
    }
}

/// Describes the limit that made fork(2) fail, as far as that can be seen.
pub(super) fn reached(limits: &[ProcessLimit]) -> String {
    let close = limits
        .iter()
        .find(|l| l.used.saturating_add(NEAR_LIMIT_MARGIN) >= l.max);
    match close {
        Some(ProcessLimit { name, max, used }) => format!("{name} is {max}, and {used} are in use"),
        None => "no limit that forklat can see is reached".into(),
    }
}

/// Returns the limits that apply to this process. `root` is `/`, except in tests.
pub(super) fn read(root: &Path) -> Vec<ProcessLimit> {
    let threads = threads(root);
    let system = |name: &str, reserved: u64| {
        let file = root.join("proc/sys/kernel").join(name);
        let max = number(&file)?.saturating_sub(reserved);
        let used = threads?;
        let name = match reserved {
            0 => format!("kernel.{name}"),
            _ => format!("kernel.{name} (less {reserved} that the kernel keeps)"),
        };
        Some(ProcessLimit { name, max, used })
    };
    let system = [system("pid_max", RESERVED), system("threads-max", 0)];
    let own = system.into_iter().chain([user(root)]).flatten();
    own.chain(cgroups(root)).collect()
}

/// Returns the number of all threads of the machine, from `running/all`, the fourth field of /proc/loadavg.
fn threads(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/loadavg")).ok()?;
    text.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// Returns RLIMIT_NPROC and the number of threads of this user, which it counts.
fn user(root: &Path) -> Option<ProcessLimit> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max processes"))?;
    let max = line.split_whitespace().next()?.parse().ok()?;
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let capabilities = u64::from_str_radix(field(&status, "CapEff:")?, 16).ok()?;
    let uid = field(&status, "Uid:")?;
    if uid == "0" || capabilities & NPROC_EXEMPT_CAPS != 0 {
        return None;
    }
    let processes = fs::read_dir(root.join("proc")).ok()?;
    let threads = processes.flatten().filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let threads = field(&status, "Threads:")?.parse::<u64>().ok()?;
        (field(&status, "Uid:") == Some(uid)).then_some(threads)
    });
    Some(ProcessLimit {
        name: "the limit on processes of this user (ulimit -u)".into(),
        max,
        used: threads.sum(),
    })
}

/// Returns `pids.max` of the control group of this process, and of those above it. (v1 has a hierarchy of its own for
/// it.)
fn cgroups(root: &Path) -> Vec<ProcessLimit> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let groups = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers) = (fields.next()?, fields.next()?);
        let path = fields.next()?.trim_start_matches('/');
        let mounted = match (number, controllers) {
            ("0", "") => "sys/fs/cgroup",
            (_, "pids") => "sys/fs/cgroup/pids",
            _ => return None,
        };
        Some((root.join(mounted), PathBuf::from(path)))
    });
    let limits = groups.flat_map(|(mounted, path)| {
        let above: Vec<PathBuf> = path.ancestors().map(|dir| mounted.join(dir)).collect();
        above.into_iter().filter_map(|dir| {
            let (max, used) = (
                number(&dir.join("pids.max"))?,
                number(&dir.join("pids.current"))?,
            );
            let name = format!("pids.max of /{}", dir.strip_prefix(root).ok()?.display());
            Some(ProcessLimit { name, max, used })
        })
    });
    limits.collect()
}

/// Reads the number in a file. Returns `None` if it has no number ("max") or does not exist.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Returns the first word after `name` in a /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a root directory with the files of a machine on which 97 threads run, 40 of them of user 7 and in one
    /// cgroup.
    fn machine(uid: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let status = format!("Uid:\t{uid}\t7\t7\t7\nThreads:\t20\nCapEff:\t0000000000000000\n");
        for (name, text) in [
            ("proc/loadavg", "0.00 0.10 0.52 1/97 1234\n"),
            ("proc/sys/kernel/pid_max", "32768\n"),
            ("proc/sys/kernel/threads-max", "192730\n"),
            (
                "proc/self/limits",
                "Limit  Soft Limit\nMax processes   50   96365   processes\n",
            ),
            ("proc/self/status", &status),
            ("proc/11/status", &status),
            ("proc/12/status", &status),
            ("proc/13/status", "Uid:\t8\nThreads:\t5\n"),
            ("proc/self/cgroup", "8:pids:/a/b\n0::/a/b\n"),
            ("sys/fs/cgroup/a/pids.max", "100\n"),
            ("sys/fs/cgroup/a/pids.current", "40\n"),
            ("sys/fs/cgroup/a/b/pids.max", "max\n"),
            ("sys/fs/cgroup/pids/a/b/pids.max", "60\n"),
            ("sys/fs/cgroup/pids/a/b/pids.current", "40\n"),
        ] {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    #[test]
    fn every_limit_is_read_with_what_is_used_of_it() {
        let limits = read(machine("7").path());
        let figures: Vec<_> = limits.iter().map(|l| (l.max, l.used)).collect();
        assert_eq!(
            figures,
            [(32468, 97), (192730, 97), (50, 40), (60, 40), (100, 40)]
        );
        assert_eq!(read(machine("0").path()).len(), 4);
        assert_eq!(read(Path::new("/dev/null")), []);
    }

    #[test]
    fn the_limit_in_the_way_is_named() {
        let limits = read(machine("7").path());
        assert_eq!(allow(&limits, 10), Ok(()));
        let refused = allow(&limits, 11).unwrap_err().to_string();
        assert!(
            refused.contains("ulimit -u) is 50, and 40 are in use"),
            "{refused}"
        );
        let refused = allow(&limits[3..], 61).unwrap_err().to_string();
        assert!(
            refused.contains("pids.max of /sys/fs/cgroup/pids/a/b is 60"),
            "{refused}"
        );
        assert!(reached(&limits).contains("ulimit"));
        assert!(reached(&limits[..2]).contains("no limit"));
    }
}
