//! A memory control group of its own with a small limit, for the tests and for `benches/engines`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the group may hold, far below the size of a copy.
pub(crate) const GROUP_LIMIT: u64 = 8 << 20;

/// What a command was charged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    /// The most that was charged at any moment, in bytes.
    pub(crate) peak: u64,
    /// How often the limit was hit.
    pub(crate) limit_hits: u64,
}

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
pub(crate) struct MemoryGroup {
    dir: PathBuf,
    files: &'static GroupFiles,
}

impl MemoryGroup {
    /// # Errors
    /// There is no such controller here, or it is not ours to use.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
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

    /// Runs a command in the group, and returns what it was charged.
    ///
    /// # Errors
    /// The command failed, or a file of the group cannot be read.
    pub(crate) fn charge(&self, command: &Command) -> Result<Charge, String> {
        let output = Command::new("sh")
            .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#])
            .arg(&self.dir)
            .arg(command.get_program())
            .args(command.get_args())
            .output()
            .map_err(|e| format!("sh: {e}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let failure = format!("{}: {}", output.status, stderr.trim());
            return Err(failure.trim_end_matches(": ").to_owned());
        }
        let peak = self.read(self.files.peak)?;
        let hits = self.read(self.files.limit_hits)?;
        let counts = hits
            .lines()
            .map(|line| line.strip_prefix("max ").unwrap_or(line));
        let hits = counts.filter_map(|count| count.trim().parse().ok()).next();
        Ok(Charge {
            peak: peak.trim().parse().map_err(|e| format!("{peak:?}: {e}"))?,
            limit_hits: hits.ok_or("the limit has no count of hits")?,
        })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir(&self.dir) {
            eprintln!("{} stays: {e}", self.dir.display());
        }
    }
}
