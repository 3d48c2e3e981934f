//! A copy inside a container with little memory: what is charged to its memory control group, beside what cp is charged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Lab, skip};
use crate::support::*;

/// What the group may hold, far below the size of the copy.
const GROUP_LIMIT: u64 = 8 << 20;

/// What mmapcp may be charged at most. Measured on 6.18: 0.5 MiB for 1 GiB by `mmap` and by `splice`.
const MAX_CHARGED: u64 = 2 << 20;

/// The names of the files of a memory control group.
struct GroupFiles {
    limit: &'static str,
    /// The most that was charged at any moment.
    peak: &'static str,
    /// How often the limit was hit: a number, or a line that begins with `max`.
    limit_hits: &'static str,
}

const VERSION_1: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    limit_hits: "memory.failcnt",
};

const VERSION_2: GroupFiles = GroupFiles {
    limit: "memory.max",
    peak: "memory.peak",
    limit_hits: "memory.events",
};

/// An empty memory control group below that of this process, removed when dropped.
struct MemoryGroup {
    dir: PathBuf,
    files: &'static GroupFiles,
}

impl MemoryGroup {
    /// # Errors
    /// There is no such controller here, or it is not ours to use.
    fn new(name: &str) -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let path_after = |prefix: &str| {
            own.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                rest.strip_prefix(prefix)
            })
        };
        let (parent, files) = match path_after("memory:") {
            Some(path) => (format!("/sys/fs/cgroup/memory{path}"), &VERSION_1),
            None => {
                let path = path_after(":").ok_or("no control groups here")?;
                let parent = format!("/sys/fs/cgroup{path}");
                // Refused where the parent has processes of its own, unless it is the root.
                let _ = fs::write(format!("{parent}/cgroup.subtree_control"), "+memory");
                (parent, &VERSION_2)
            }
        };
        let group = Self {
            dir: Path::new(&parent).join(format!("{name}-{}", std::process::id())),
            files,
        };
        fs::create_dir(&group.dir).map_err(|e| format!("{}: {e}", group.dir.display()))?;
        let limit = group.dir.join(files.limit);
        fs::write(&limit, GROUP_LIMIT.to_string())
            .map_err(|e| format!("{}: {e}", limit.display()))?;
        group.read(files.peak)?;
        Ok(group)
    }

    fn read(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.dir.join(file)).map_err(|e| format!("{file}: {e}"))
    }

    /// Runs a command in the group. Returns the most that was charged, in bytes, and how often the limit was hit.
    fn charge(&self, command: &Command) -> (u64, u64) {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#])
            .arg(&self.dir)
            .arg(command.get_program())
            .args(command.get_args());
        let output = run(&mut shell);
        assert!(output.status.success(), "{command:?}: {output:?}");
        let peak = self.read(self.files.peak).unwrap();
        let hits = self.read(self.files.limit_hits).unwrap();
        let counts = hits
            .lines()
            .map(|line| line.strip_prefix("max ").unwrap_or(line));
        let hits = counts.filter_map(|count| count.trim().parse().ok()).next();
        (peak.trim().parse().unwrap(), hits.unwrap())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir(&self.dir) {
            eprintln!("{} stays: {e}", self.dir.display());
        }
    }
}

#[test]
fn a_copy_in_a_small_container_is_charged_next_to_nothing() {
    let Some(_lab) = Lab::acquire_or_skip(&["sh"]) else {
        return;
    };
    let (shm, disk) = (shm_dir(), disk_dir());
    let source = shm.path().join("source");
    make_dump(&source, 64 << 20, &[(0, 64 << 20)]);
    for (tool, args) in [
        (&*MMAPCP, &[][..]),
        (&*MMAPCP, &["--engine=splice"]),
        ("cp", &[]),
    ] {
        let group = match MemoryGroup::new("mmapcp-test") {
            Ok(group) => group,
            Err(why) => {
                return skip(&format!("no memory control group: {why}")).unwrap_or_default();
            }
        };
        let dest = disk.path().join("dest");
        let mut command = Command::new(tool);
        command.args(args).arg(&source).arg(&dest);
        let (peak, hits) = group.charge(&command);
        if tool == "cp" {
            assert!(
                hits > 0,
                "cp is charged for what it caches, or this test shows nothing"
            );
        } else {
            assert!(peak <= MAX_CHARGED, "{args:?}: {peak} bytes");
            assert_eq!(hits, 0, "{args:?}");
        }
        assert_same_content(&source, &dest, tool);
        fs::remove_file(&dest).unwrap();
    }
}
