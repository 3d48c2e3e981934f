//! Reads the settings around a sysctl. Writing one may change others: vm.dirty_bytes and vm.dirty_ratio,
//! vm.overcommit_kbytes and vm.overcommit_ratio, kernel.watchdog and its parts, net.ipv4.ip_forward and the interfaces.
//! No list of them is complete, so all settings around it are read.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::observe::kernel_file::{path_below, read_trimmed};

/// The files of settings, each with the value that was read.
pub(super) type SysctlValues = BTreeMap<PathBuf, String>;

/// Settings that the kernel changes by itself: the number of warnings left, the last process number, the rate that perf
/// can sustain, entropy, taints. vm.stat_refresh is among them because reading it is an action. Other settings that
/// change are found by reading twice.
const VOLATILE_SYSCTLS: [&str; 6] = [
    "kernel/hung_task_warnings",
    "kernel/ns_last_pid",
    "kernel/perf_event_max_sample_rate",
    "kernel/random",
    "kernel/tainted",
    "vm/stat_refresh",
];

/// Permission bits of a setting that its owner can read and write back.
const READ_WRITE: u32 = 0o600;

/// Returns the directory in which a write to the setting `name` may change others: `vm` for `vm/dirty_bytes`,
/// `net/ipv4` for `net/ipv4/ip_forward`.
pub(super) fn top(root: &Path, name: &str) -> PathBuf {
    let parts: Vec<&str> = name.split('/').collect();
    let depth = if parts[0] == "net" { 2 } else { 1 };
    let depth = depth.min(parts.len().saturating_sub(1));
    let sys = path_below(root, "/proc/sys");
    sys.join(parts[..depth].join("/"))
}

/// Reads all settings below a directory that can be read and written and that do not change by themselves: two readings
/// must agree.
pub(super) fn read_stable(top: &Path) -> SysctlValues {
    let first = all(top);
    let mut values = all(top);
    values.retain(|path, value| first.get(path) == Some(value));
    values
}

fn all(top: &Path) -> SysctlValues {
    let mut values = SysctlValues::new();
    let device = top.symlink_metadata().map_or(0, |meta| meta.dev());
    collect(top, device, &mut values);
    values
}

/// Adds the settings of one directory and of those below it. A setting that cannot be read is left out: some cannot be
/// read until they are set (net.ipv6.conf.*.stable_secret).
fn collect(dir: &Path, device: u64, values: &mut SysctlValues) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        // Other file systems are not settings of this kind. fs/binfmt_misc may even be mounted by being opened.
        let Some(meta) = path.symlink_metadata().ok().filter(|m| m.dev() == device) else {
            continue;
        };
        // The undo journal is JSON, which cannot represent other names.
        if path.to_str().is_none() || VOLATILE_SYSCTLS.iter().any(|moving| path.ends_with(moving)) {
            continue;
        }
        if meta.is_dir() {
            collect(&path, device, values);
        } else if meta.is_file()
            && meta.mode() & READ_WRITE == READ_WRITE
            && let Ok(value) = read_trimmed(&path)
        {
            values.insert(path, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_lies_around_a_setting_is_its_family() {
        for (name, want) in [
            ("vm/dirty_bytes", "vm"),
            ("kernel/keys/maxkeys", "kernel"),
            ("net/ipv4/ip_forward", "net/ipv4"),
            ("net/ipv4/conf/all/forwarding", "net/ipv4"),
            ("net/nf_conntrack_max", "net"),
        ] {
            let top = top(Path::new("/r"), name);
            assert_eq!(top, Path::new("/r/proc/sys").join(want), "{name}");
        }
    }

    #[test]
    fn what_can_be_put_back_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "1\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        file("kernel/a", 0o644);
        file("kernel/deep/b", 0o600);
        file("kernel/only_read", 0o444);
        file("kernel/only_written", 0o200);
        file("kernel/ns_last_pid", 0o644);
        file("kernel/random/write_wakeup_threshold", 0o644);
        file("other/c", 0o644);
        symlink(dir.path().join("other"), dir.path().join("kernel/link")).unwrap();
        let found = read_stable(&dir.path().join("kernel"));
        let names = ["a", "deep/b"].map(|name| dir.path().join("kernel").join(name));
        assert!(found.keys().eq(names.iter()), "{found:?}");
        assert!(found.values().all(|value| value == "1"));
    }
}
