//! Control groups: finds those of this process, reads the memory that they leave to it, and moves it into one and out
//! again.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::control_files::{try_write, write};
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::{path_below, read_trimmed};
use crate::observe::mount::Mount;
use crate::sys::proc_status;

/// A control group hierarchy as this process sees it. Paths are below the root directory that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// The mount point of the hierarchy.
    pub(super) top: PathBuf,
    /// The group that this process is in.
    pub(super) own: PathBuf,
}

/// Returns the v1 hierarchy of a controller, or the v2 hierarchy if `controller` is `None`. Returns `None` if it is not
/// mounted.
pub(super) fn hierarchy(
    root: &Path,
    controller: Option<&str>,
) -> Result<Option<Hierarchy>, ForklatError> {
    let is_it = |mount: &Mount| match controller {
        Some(name) => {
            mount.file_system == "cgroup" && mount.super_options.iter().any(|o| o == name)
        }
        None => mount.file_system == "cgroup2",
    };
    let Some(mount) = Mount::all(root)?.into_iter().find(is_it) else {
        return Ok(None);
    };
    let file = path_below(root, "/proc/self/cgroup");
    let text = read_trimmed(&file)?;
    let own = text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let found = match controller {
            Some(name) => controllers.split(',').any(|c| c == name),
            None => controllers.is_empty(),
        };
        found.then(|| PathBuf::from(path))
    });
    // In a container, the mount may show only that part of the hierarchy that belongs to the container.
    let inside = own.and_then(|own| own.strip_prefix(&mount.fs_root).map(Path::to_path_buf).ok());
    let top = path_below(root, &mount.mount_point);
    let own = inside.map_or_else(|| top.clone(), |inside| top.join(inside));
    Ok(Some(Hierarchy { top, own }))
}

/// Returns the bytes that this process may take before it reaches the memory limit of its group or of one above it.
/// File pages of the group are not counted as used, since they can be reclaimed. Returns `None` without a memory
/// controller.
pub(super) fn memory_room(root: &Path) -> Result<Option<u64>, ForklatError> {
    least_room(root, true)
}

/// Returns the bytes that this process may take before its group or one above it has to reclaim anything. Returns `None`
/// without a memory controller or a limit.
pub(in crate::forklat) fn unused_memory(root: &Path) -> Result<Option<u64>, ForklatError> {
    least_room(root, false)
}

/// Returns the least difference of limit and usage of the groups of this process. File pages are not counted as used if
/// `reclaims_files`.
fn least_room(root: &Path, reclaims_files: bool) -> Result<Option<u64>, ForklatError> {
    let v1 = hierarchy(root, Some("memory"))?;
    let (h, limit, usage, prefix) = match v1 {
        Some(h) => (
            h,
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_",
        ),
        None => match hierarchy(root, None)? {
            Some(h) => (h, "memory.max", "memory.current", ""),
            None => return Ok(None),
        },
    };
    let levels = h.own.ancestors().take_while(|dir| dir.starts_with(&h.top));
    let room = |dir: &Path| {
        // "max" is no limit, and neither is a missing file at the top.
        let limit: u64 = read_trimmed(&dir.join(limit)).ok()?.parse().ok()?;
        let usage: u64 = read_trimmed(&dir.join(usage)).ok()?.parse().ok()?;
        let stat = read_trimmed(&dir.join("memory.stat")).unwrap_or_default();
        let files =
            stat_field(&stat, prefix, "inactive_file") + stat_field(&stat, prefix, "active_file");
        let files = if reclaims_files { files } else { 0 };
        Some(limit.saturating_sub(usage.saturating_sub(files)))
    };
    Ok(levels.filter_map(room).min())
}

fn stat_field(stat: &str, prefix: &str, name: &str) -> u64 {
    stat.lines()
        .filter_map(|line| {
            line.strip_prefix(prefix)?
                .strip_prefix(name)?
                .strip_prefix(' ')
        })
        .find_map(|value| value.parse().ok())
        .unwrap_or(0)
}

/// Moves this process and all its descendants into `group`.
pub(super) fn move_own_processes(root: &Path, group: &Path) -> Result<(), ForklatError> {
    let procs = group.join("cgroup.procs");
    for pid in own_process_tree(root)? {
        move_to(&procs, pid)?;
    }
    Ok(())
}

/// Moves the process whose command name is `name`, if there is one, into `group`.
pub(super) fn move_named_process(
    root: &Path,
    group: &Path,
    name: &str,
) -> Result<(), ForklatError> {
    let proc = path_below(root, "/proc");
    let entries = std::fs::read_dir(&proc).map_err(|e| cannot("read", &proc, e))?;
    let has_name = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let found = entries.flatten().filter(has_name);
    let pids = found.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids {
        move_to(&group.join("cgroup.procs"), pid)?;
    }
    Ok(())
}

fn move_to(procs: &Path, pid: i32) -> Result<(), ForklatError> {
    match try_write(procs, &pid.to_string()) {
        // The process has ended meanwhile, as the child of a fork prober often has.
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        Err(e) => Err(cannot(format!("move process {pid} to"), procs, e)),
        Ok(()) => Ok(()),
    }
}

/// Returns the process numbers of this process and then of its descendants.
fn own_process_tree(root: &Path) -> Result<Vec<i32>, ForklatError> {
    let proc = path_below(root, "/proc");
    let entries = std::fs::read_dir(&proc).map_err(|e| cannot("read", &proc, e))?;
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in entries.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = proc_status::stat_fields(&stat)
            .nth(1)
            .and_then(|p| p.parse().ok());
        if let (Some(pid), Some(parent)) = (pid, parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![std::process::id().cast_signed()];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    Ok(found)
}

/// Number of attempts to remove a group, and the interval between two. Its last process leaves it some moments after it
/// has ended.
const TRIES: u32 = 100;
const RMDIR_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Returns whether the name still leads to the group that was made.
fn is_same_group(group: &Path, id: Option<(u64, u64)>) -> bool {
    id.is_some()
        && group
            .symlink_metadata()
            .is_ok_and(|now| Some((now.dev(), now.ino())) == id)
}

/// Removes the limits of `group` from its devices. Returns whether there were any. A group or device that is already
/// gone is no error, and a group of another process that has the name now is left alone.
pub(super) fn clear_io_limits(group: &Path, id: Option<(u64, u64)>) -> Result<bool, ForklatError> {
    if !is_same_group(group, id) {
        return Ok(false);
    }
    let file = group.join("io.max");
    let limits = std::fs::read_to_string(&file).unwrap_or_default();
    let devices = limits
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mut any = false;
    for device in devices {
        let off = format!("{device} rbps=max wbps=max riops=max wiops=max");
        match try_write(&file, &off) {
            // The group or the device is gone.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
            Err(e) => return Err(cannot(format!("write '{off}' to"), &file, e)),
            Ok(()) => any = true,
        }
    }
    Ok(any)
}

/// Removes the limits of `group`, moves its processes back to `home` (or to `top` if home is gone), removes the group,
/// and disables the controllers `enabled` for the groups below `top`. A group that is already gone is no error.
///
/// The limits come first: a group that has been removed keeps holding the remaining writeback of its processes to its
/// rate, and there is no file left that could change that.
pub(super) fn remove_group(
    group: &Path,
    id: Option<(u64, u64)>,
    home: &Path,
    top: &Path,
    enabled: &[String],
) -> Result<(), ForklatError> {
    let home = if home.exists() { home } else { top };
    clear_io_limits(group, id)?;
    for attempt in 1.. {
        if is_same_group(group, id) {
            empty(group, home)?;
        } else if id.is_some() {
            // The group is gone, and its name belongs to a group of another process.
            break;
        }
        match std::fs::remove_dir(group) {
            Ok(()) => break,
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) if attempt == TRIES || id.is_none() => {
                return Err(cannot("remove control group", group, e));
            }
            Err(_) => std::thread::sleep(RMDIR_RETRY_INTERVAL),
        }
    }
    for controller in enabled {
        write(
            &top.join("cgroup.subtree_control"),
            &format!("-{controller}"),
        )?;
    }
    Ok(())
}

fn empty(group: &Path, home: &Path) -> Result<(), ForklatError> {
    let Ok(pids) = std::fs::read_to_string(group.join("cgroup.procs")) else {
        return Ok(());
    };
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        move_to(&home.join("cgroup.procs"), pid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(mountinfo: &str, cgroup: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("proc/self");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("mountinfo"), mountinfo).unwrap();
        std::fs::write(own.join("cgroup"), cgroup).unwrap();
        dir
    }

    const MOUNTS: &str = "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n\
        38 31 0:35 /docker/x /cg/blkio rw - cgroup cgroup rw,blkio\n\
        41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_in_each_hierarchy() {
        let root = root(MOUNTS, "5:blkio:/docker/x/y\n4:memory:/a/b\n0::/s\n");
        let top = |name: &str| root.path().join("cg").join(name);
        for (controller, name, own) in [
            (Some("blkio"), "blkio", "blkio/y"),
            (Some("memory"), "memory", "memory/a/b"),
            (None, "unified", "unified/s"),
        ] {
            let want = Hierarchy {
                top: top(name),
                own: top(own),
            };
            assert_eq!(hierarchy(root.path(), controller), Ok(Some(want)));
        }
        assert_eq!(hierarchy(root.path(), Some("cpu")), Ok(None));
    }

    #[test]
    fn the_tightest_memory_limit_above_us_counts() {
        let root = root(MOUNTS, "4:memory:/a/b\n");
        let group = |name: &str, limit: &str, usage: &str, stat: &str| {
            let dir = root.path().join("cg/memory").join(name);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("memory.limit_in_bytes"), limit).unwrap();
            std::fs::write(dir.join("memory.usage_in_bytes"), usage).unwrap();
            std::fs::write(dir.join("memory.stat"), stat).unwrap();
        };
        group("", "9223372036854771712\n", "5000\n", "");
        group(
            "a",
            "1000\n",
            "700\n",
            "inactive_file 9\ntotal_inactive_file 200\ntotal_active_file 50\n",
        );
        group("a/b", "900\n", "100\n", "");
        assert_eq!(memory_room(root.path()), Ok(Some(550)));
    }

    #[test]
    fn no_limit_is_no_bound() {
        let root = root("41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n", "0::/s\n");
        let dir = root.path().join("cg/s");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("memory.max"), "max\n").unwrap();
        std::fs::write(dir.join("memory.current"), "100\n").unwrap();
        assert_eq!(memory_room(root.path()), Ok(None));
        std::fs::write(dir.join("memory.max"), "1000\n").unwrap();
        assert_eq!(memory_room(root.path()), Ok(Some(900)));
        std::fs::write(dir.join("memory.stat"), "inactive_file 60\n").unwrap();
        assert_eq!(memory_room(root.path()), Ok(Some(960)));
        assert_eq!(unused_memory(root.path()), Ok(Some(900)));
    }

    #[test]
    fn the_family_is_all_descendants_and_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let me = std::process::id().cast_signed();
        for (pid, name, parent) in [
            (me, "me", 1),
            (70001, "a) S 9", me),
            (70002, "b", 70001),
            (70003, "c", 1),
        ] {
            let dir = root.path().join("proc").join(pid.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("stat"), format!("{pid} ({name}) S {parent} 1 1")).unwrap();
        }
        assert_eq!(own_process_tree(root.path()), Ok(vec![me, 70001, 70002]));
    }

    #[test]
    fn a_kernel_thread_is_moved_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        for (pid, name) in [("7", "jbd2/loop9-8\n"), ("8", "jbd2/loop90-8\n")] {
            let dir = root.path().join("proc").join(pid);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("comm"), name).unwrap();
        }
        let group = root.path().join("group");
        std::fs::create_dir(&group).unwrap();
        let moved = group.join("cgroup.procs");
        std::fs::write(&moved, "").unwrap();
        let moving = move_named_process(root.path(), &group, "jbd2/loop9-8");
        assert_eq!(moving, Ok(()));
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "7");
    }

    #[test]
    fn each_limit_of_a_group_is_lifted_and_one_that_is_gone_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().metadata().unwrap();
        let id = Some((meta.dev(), meta.ino()));
        assert_eq!(clear_io_limits(dir.path(), id), Ok(false));
        let file = dir.path().join("io.max");
        std::fs::write(&file, "").unwrap();
        assert_eq!(clear_io_limits(dir.path(), id), Ok(false));
        std::fs::write(&file, "259:1 rbps=1 wbps=2 riops=max wiops=max\n").unwrap();
        assert_eq!(clear_io_limits(dir.path(), id), Ok(true));
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "259:1 rbps=max wbps=max riops=max wiops=max"
        );
    }

    /// A group that another process has made under the name keeps its processes and its limits.
    #[test]
    fn a_group_of_another_process_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (group, home) = (dir.path().join("group"), dir.path().join("home"));
        std::fs::create_dir(&group).unwrap();
        std::fs::create_dir(&home).unwrap();
        std::fs::write(group.join("cgroup.procs"), "4000000\n").unwrap();
        std::fs::write(home.join("cgroup.procs"), "").unwrap();
        std::fs::write(group.join("io.max"), "254:0 rbps=max wbps=1\n").unwrap();
        let meta = home.metadata().unwrap();
        let id = Some((meta.dev(), meta.ino()));
        assert_eq!(clear_io_limits(&group, id), Ok(false));
        assert_eq!(remove_group(&group, id, &home, dir.path(), &[]), Ok(()));
        assert!(remove_group(&group, None, &home, dir.path(), &[]).is_err());
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&home.join("cgroup.procs")), "");
        assert_eq!(read(&group.join("io.max")), "254:0 rbps=max wbps=1\n");
    }
}
