//! The undo journal: the changes that must be undone, written to a file before they are made, so that the next start
//! finds them after SIGKILL.
//!
//! Each process has one file, `PID-STARTTIME.json`, in a directory that only its user can write: `/run/forklat` for
//! root, `$XDG_RUNTIME_DIR/forklat` for other users, or `/tmp/forklat-UID` if these are not available. The environment
//! variable `FORKLAT_STATE_DIR` names another directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::undo_entry::UndoEntry;
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::{path_below, read_trimmed};
use crate::report::quote::quote;
use crate::sys::proc_status::start_time;

/// The environment variable that names another directory for the journals.
pub const STATE_DIR: &str = "FORKLAT_STATE_DIR";

/// The file that is locked by the one forklat that may change the kernel's settings.
const LOCK: &str = "lock";

/// The version of the file format.
const JOURNAL_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    v: u32,
    /// The identifier of the boot in which the journal was written. Kernel settings of another boot no longer exist.
    boot: String,
    entries: Vec<UndoEntry>,
    /// The reasons why a later start could not undo the entries. The list is empty until a start has tried.
    #[serde(default)]
    failed: Vec<String>,
}

/// The undo journal of this process.
#[derive(Debug)]
pub struct UndoJournal {
    dir: PathBuf,
    root: PathBuf,
    file: PathBuf,
    document: Document,
    lock: Option<Flock<File>>,
}

impl UndoJournal {
    /// Opens an empty journal. Before the first [`add`](Self::add), only its directory exists on disk.
    ///
    /// # Errors
    /// No directory that belongs to this user alone; no /proc.
    pub fn open() -> Result<Self, ForklatError> {
        Self::open_in(&make_directory()?, Path::new("/"))
    }

    pub(super) fn open_in(dir: &Path, root: &Path) -> Result<Self, ForklatError> {
        let pid = std::process::id();
        let start = start_time(Path::new("/"), pid)
            .ok_or_else(|| format!("cannot read the start time of process {pid} in /proc"))?;
        Ok(Self {
            dir: dir.to_owned(),
            root: root.to_owned(),
            file: dir.join(format!("{pid}-{start}.json")),
            document: Document {
                v: JOURNAL_VERSION,
                boot: boot(root)?,
                entries: Vec::new(),
                failed: Vec::new(),
            },
            lock: None,
        })
    }

    /// Adds a change before it is made. The first change of the kernel's settings takes the lock of the host.
    ///
    /// # Errors
    /// Another forklat holds the lock, or died while holding it; the journal cannot be written. The change must not be
    /// made then.
    pub fn add(&mut self, entry: UndoEntry) -> Result<(), ForklatError> {
        if entry.is_kernel_state() && self.lock.is_none() {
            self.lock = Some(self.take_lock()?);
        }
        self.document.entries.push(entry);
        let written = self.write();
        if written.is_err() {
            self.document.entries.pop();
        }
        written
    }

    /// Removes a change that was undone, or not made after all.
    ///
    /// # Errors
    /// A journal that cannot be written.
    pub fn remove(&mut self, entry: &UndoEntry) -> Result<(), ForklatError> {
        self.document.entries.retain(|other| other != entry);
        self.write()
    }

    /// Replaces an entry that holds more than is needed by another one.
    ///
    /// # Errors
    /// A journal that cannot be written. It is unchanged then.
    pub fn replace_entry_or_keep(
        &mut self,
        entry: &UndoEntry,
        other: &UndoEntry,
    ) -> Result<(), ForklatError> {
        let before = self.document.entries.clone();
        for place in self.document.entries.iter_mut().filter(|e| *e == entry) {
            place.clone_from(other);
        }
        let written = self.write();
        if written.is_err() {
            self.document.entries = before;
        }
        written
    }

    /// Undoes one change and removes it from the journal.
    ///
    /// # Errors
    /// The change could not be undone, or the journal cannot be written.
    pub fn undo(&mut self, entry: &UndoEntry) -> Result<(), ForklatError> {
        entry.undo()?;
        self.remove(entry)
    }

    /// Makes a private directory in `parent` with mode 0700. It is removed with its content when the changes are
    /// undone.
    ///
    /// # Errors
    /// The error of mkdir(2), or a journal that cannot be written.
    pub fn scratch(&mut self, parent: &Path) -> Result<PathBuf, ForklatError> {
        // The next start of forklat may have another current directory.
        let parent = std::path::absolute(parent).map_err(|e| cannot("resolve", parent, e))?;
        for n in 0.. {
            let path = parent.join(format!(".forklat-{}-{n}", std::process::id()));
            let entry = UndoEntry::Directory {
                path: path.clone().into(),
                id: None,
            };
            self.add(entry.clone())?;
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return self.note_created_dir(&entry, &path).map(|()| path),
                Err(e) => {
                    self.remove(&entry)?;
                    if e.kind() != io::ErrorKind::AlreadyExists {
                        return Err(cannot("make directory", &path, e));
                    }
                }
            }
        }
        unreachable!("some number is free")
    }

    /// Notes the device and inode number of a directory that now exists.
    fn note_created_dir(&mut self, entry: &UndoEntry, path: &Path) -> Result<(), ForklatError> {
        let made = UndoEntry::Directory {
            path: path.into(),
            id: Some(numbers(path)?),
        };
        self.update(entry, &made)
    }

    /// Notes the device and inode number of a control group that now exists. Returns the entry with them.
    ///
    /// # Errors
    /// A group that cannot be read, or a journal that cannot be written.
    pub(super) fn note_created_group(
        &mut self,
        entry: &UndoEntry,
    ) -> Result<UndoEntry, ForklatError> {
        let mut made = entry.clone();
        if let UndoEntry::Cgroup { path, id, .. } = &mut made {
            *id = Some(numbers(path)?);
        }
        self.update(entry, &made)?;
        Ok(made)
    }

    fn update(&mut self, entry: &UndoEntry, now: &UndoEntry) -> Result<(), ForklatError> {
        for other in self.document.entries.iter_mut().filter(|e| *e == entry) {
            other.clone_from(now);
        }
        self.write()
    }

    /// Undoes all changes, the last one first. Changes that could not be undone stay in the journal, and their errors
    /// are returned as text.
    #[must_use]
    pub fn undo_all(&mut self) -> Vec<String> {
        if self.document.entries.is_empty() {
            return Vec::new();
        }
        let mut failed = undo_entries(&mut self.document.entries, |_| {});
        failed.extend(self.write().err().map(|e| e.to_string()));
        if self.document.entries.is_empty() {
            self.lock = None;
        } else if let Some(last) = failed.last_mut() {
            *last += &format!(
                "; the next start of forklat tries again, using the journal {}",
                quote(&self.file)
            );
        }
        failed
    }

    /// Leaves the changes that could not be undone to the next start.
    pub(super) fn abandon_entries(&mut self) {
        self.document.entries.clear();
        self.lock = None;
    }

    #[cfg(test)]
    pub(super) fn on_disk(&self) -> Vec<UndoEntry> {
        load(&self.file).unwrap().entries
    }

    fn write(&self) -> Result<(), ForklatError> {
        if self.document.entries.is_empty() {
            return match std::fs::remove_file(&self.file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(cannot("remove", &self.file, e))
                }
                _ => Ok(()),
            };
        }
        replace(&self.file, &self.document)
    }

    /// Takes the lock of the host. Only one forklat at a time may change settings, since each would take the other's
    /// settings for those of the host.
    fn take_lock(&self) -> Result<Flock<File>, ForklatError> {
        let lock =
            try_lock(&self.dir)?.ok_or("another forklat is changing settings of this host")?;
        let left = records(&self.dir)?.into_iter().any(|found| {
            let dead = !found.is_owner_alive(&self.root);
            // Changes that could not be undone were reported at each start and are left to the user. They do not keep
            // others from the lock.
            let of_kernel = |d: Document| {
                d.failed.is_empty() && d.entries.iter().any(UndoEntry::is_kernel_state)
            };
            dead && load(&found.path).is_ok_and(of_kernel)
        });
        if left {
            return Err("another forklat has just died and left settings of this host changed: start again to undo that".into());
        }
        Ok(lock)
    }
}

/// Returns the device and inode number of a directory.
fn numbers(path: &Path) -> Result<(u64, u64), ForklatError> {
    let meta = path.symlink_metadata();
    meta.map(|meta| (meta.dev(), meta.ino()))
        .map_err(|e| cannot("stat", path, e))
}

/// Undoes the changes of forklats that were killed. Returns a line in plain words for each change that was undone or
/// could not be.
///
/// A journal that cannot be read or undone is kept. Those of running processes are left alone.
#[must_use]
pub fn undo_leftovers() -> Vec<String> {
    match directory() {
        Ok(Some(dir)) => clear_in(&dir, Path::new("/")),
        Ok(None) => Vec::new(),
        Err(e) => vec![e.to_string()],
    }
}

fn clear_in(dir: &Path, root: &Path) -> Vec<String> {
    try_undo_leftovers(dir, root).unwrap_or_else(|e| vec![e.to_string()])
}

fn try_undo_leftovers(dir: &Path, root: &Path) -> Result<Vec<String>, ForklatError> {
    let boot = boot(root)?;
    let mut lock = try_lock(dir)?;
    if lock.is_none() && lift_limits(dir, root, &boot)? {
        lock = wait_for_lock(dir)?;
    }
    let mut lines = Vec::new();
    for left in records(dir)?
        .iter()
        .filter(|found| !found.is_owner_alive(root))
    {
        if left.path.extension().is_some_and(|e| e == "new") {
            // Its writer died before rename(2), so the change that it announces was not made.
            let _ = std::fs::remove_file(&left.path);
        } else {
            undo_leftover(left, &boot, lock.is_some(), &mut lines);
        }
    }
    Ok(lines)
}

/// Lifts the disk limits that killed forklats have left. Returns whether there were any. A killed forklat that waits
/// for fsync(2) ends, and releases the lock, only when everything is written; at the rate of its own limit that would
/// take as long as the run. No running forklat loses a limit, since none holds the lock while such a journal exists.
fn lift_limits(dir: &Path, root: &Path, boot: &str) -> Result<bool, ForklatError> {
    let mut any = false;
    for left in records(dir)?
        .iter()
        .filter(|found| !found.is_owner_alive(root))
    {
        // A journal that cannot be read is reported when it is to be undone.
        let Ok(document) = load(&left.path) else {
            continue;
        };
        if document.boot == boot {
            for entry in document.entries.iter().rev() {
                any |= entry.lift()?;
            }
        }
    }
    Ok(any)
}

/// Longest wait for a killed forklat to write its dirty data, now at the speed of the disk, and to release the lock (10
/// s).
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

fn wait_for_lock(dir: &Path) -> Result<Option<Flock<File>>, ForklatError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let lock = try_lock(dir)?;
        if lock.is_some() || Instant::now() > deadline {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_POLL_INTERVAL);
    }
}

fn undo_leftover(left: &FoundJournal, boot: &str, locked: bool, lines: &mut Vec<String>) {
    let mut document = match load(&left.path) {
        Ok(document) => document,
        Err(e) => {
            return lines.push(format!(
                "{e}; it is kept: remove it when this host is as it should be"
            ));
        }
    };
    let of_kernel = document.entries.iter().any(UndoEntry::is_kernel_state);
    if of_kernel && document.boot == boot && !locked {
        return lines.push(format!(
            "forklat {} was killed and left settings of this host changed; it has not ended yet, or another forklat is changing them now: start again later",
            left.pid
        ));
    }
    let rebooted = document.boot != boot;
    document
        .entries
        .retain(|entry| !(rebooted && entry.is_kernel_state()));
    let who = format!(
        "forklat {} was killed before it restored this host",
        left.pid
    );
    let failed = undo_entries(&mut document.entries, |entry| {
        let line = format!("{who}: {}", entry.describe_undone());
        // A device may be limited by several files, which give the same line.
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    });
    let way_out = format!(
        "its record is kept, and tried again at each start: restore that by hand, and remove {}",
        quote(&left.path)
    );
    lines.extend(failed.iter().map(|e| format!("{who}: {e}; {way_out}")));
    document.failed = failed;
    let kept = if document.entries.is_empty() {
        std::fs::remove_file(&left.path).map_err(|e| cannot("remove", &left.path, e))
    } else {
        replace(&left.path, &document)
    };
    lines.extend(kept.err().map(|e| e.to_string()));
}

/// Undoes the entries, the last one first, and removes from `entries` those that are undone. Returns the errors of the
/// others.
fn undo_entries(entries: &mut Vec<UndoEntry>, mut undone: impl FnMut(&UndoEntry)) -> Vec<String> {
    let (mut kept, mut failed) = (Vec::new(), Vec::new());
    while let Some(entry) = entries.pop() {
        match entry.undo() {
            Ok(()) => undone(&entry),
            Err(e) => {
                failed.push(e.to_string());
                kept.insert(0, entry);
            }
        }
    }
    *entries = kept;
    failed
}

/// A journal file that was found in the directory.
struct FoundJournal {
    path: PathBuf,
    pid: u32,
    start: u64,
}

impl FoundJournal {
    fn is_owner_alive(&self, root: &Path) -> bool {
        start_time(root, self.pid) == Some(self.start)
    }
}

/// Returns the journals in a directory: `123-456.json`, and `123-456.new` of a writer that was killed before rename(2).
fn records(dir: &Path) -> Result<Vec<FoundJournal>, ForklatError> {
    let entries = std::fs::read_dir(dir).map_err(|e| cannot("read", dir, e))?;
    let parse = |path: PathBuf| {
        let extension = path.extension()?;
        let (pid, start) = path.file_stem()?.to_str()?.split_once('-')?;
        (extension == "json" || extension == "new").then_some(())?;
        Some(FoundJournal {
            pid: pid.parse().ok()?,
            start: start.parse().ok()?,
            path,
        })
    };
    Ok(entries.flatten().filter_map(|e| parse(e.path())).collect())
}

fn load(path: &Path) -> Result<Document, ForklatError> {
    let text = read_trimmed(path)?;
    match serde_json::from_str::<Document>(&text) {
        Ok(document) if document.v == JOURNAL_VERSION => Ok(document),
        Ok(document) => Err(format!("record {} has version {}", quote(path), document.v).into()),
        Err(e) => Err(format!("cannot understand record {}: {e}", quote(path)).into()),
    }
}

/// Writes a complete new file and renames it over the old one. There is no fsync(2): the file must survive this
/// process, not a crash of the machine, and the disk may be under load.
fn replace(path: &Path, document: &Document) -> Result<(), ForklatError> {
    let new = path.with_extension("new");
    let text = serde_json::to_string_pretty(document)
        .map_err(|e| format!("cannot write record {}: {e}", quote(path)))?;
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&new, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&new);
        cannot("write", path, e)
    })
}

fn try_lock(dir: &Path) -> Result<Option<Flock<File>>, ForklatError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| cannot("open", &path, e))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(cannot("lock", &path, errno)),
    }
}

fn boot(root: &Path) -> Result<String, ForklatError> {
    let path = path_below(root, "/proc/sys/kernel/random/boot_id");
    Ok(read_trimmed(&path)?)
}

/// Returns the directories that may hold the journals, best first.
fn candidates() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set(STATE_DIR) {
        return vec![dir.into()];
    }
    let user = geteuid();
    let run = if user.is_root() {
        Some(PathBuf::from("/run/forklat"))
    } else {
        set("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("forklat"))
    };
    let fallback = PathBuf::from(format!("/tmp/forklat-{user}"));
    run.into_iter().chain([fallback]).collect()
}

fn directory() -> Result<Option<PathBuf>, ForklatError> {
    for dir in candidates() {
        if dir.symlink_metadata().is_ok() {
            return check_private_dir(&dir).map(|()| Some(dir));
        }
    }
    Ok(None)
}

fn make_directory() -> Result<PathBuf, ForklatError> {
    let mut refused = None;
    for dir in candidates() {
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                refused = Some(cannot("make directory", &dir, e));
            }
            _ => return check_private_dir(&dir).map(|()| dir),
        }
    }
    Err(refused.unwrap_or_else(|| "there is no place for records".into()))
}

/// Checks that a directory can be written by this user alone. Entries that another user wrote there would be carried
/// out.
fn check_private_dir(dir: &Path) -> Result<(), ForklatError> {
    let meta = dir.symlink_metadata().map_err(|e| cannot("stat", dir, e))?;
    let alone = meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if meta.is_dir() && alone {
        Ok(())
    } else {
        Err(format!("{} is not a directory that only we can write", quote(dir)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sysctl_change::SysctlChange;
    use super::*;

    /// A state directory, and a root directory in which processes and settings are plain files.
    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self {
                dir: tempfile::tempdir().unwrap(),
            };
            world.file("root/proc/sys/kernel/random/boot_id", "this\n");
            std::fs::create_dir(world.state()).unwrap();
            world
        }
        fn root(&self) -> PathBuf {
            self.dir.path().join("root")
        }
        fn state(&self) -> PathBuf {
            self.dir.path().join("state")
        }
        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }
        fn sysctl(&self, name: &str, now: &str, old: &str) -> UndoEntry {
            UndoEntry::Sysctl(SysctlChange::alone(self.file(name, now), old))
        }
        fn left(&self, name: &str, boot: &str, entries: Vec<UndoEntry>) -> PathBuf {
            let path = self.state().join(name);
            let document = Document {
                v: JOURNAL_VERSION,
                boot: boot.into(),
                entries,
                failed: Vec::new(),
            };
            replace(&path, &document).unwrap();
            path
        }
        fn process(&self, pid: u32, state: char, start: u64) {
            let middle = "0 ".repeat(18);
            let stat = format!("{pid} (a ) b) {state} {middle}{start} 7 8");
            self.file(&format!("root/proc/{pid}/stat"), &stat);
        }
        fn clear(&self) -> Vec<String> {
            clear_in(&self.state(), &self.root())
        }
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_a_dead_process_left_is_undone_in_reverse_and_its_record_goes() {
        let world = World::new();
        let (first, second) = (world.sysctl("x", "3", "1"), world.sysctl("x", "3", "2"));
        let path = world.left("500-9.json", "this", vec![first, second]);
        let lines = world.clear();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("x' back to '2'"), "{lines:?}");
        assert_eq!(text(&world.dir.path().join("x")), "1");
        assert!(!path.exists());
        assert!(world.clear().is_empty());
    }

    #[test]
    fn a_living_process_is_left_alone_and_a_number_used_again_or_a_zombie_is_not_alive() {
        for (state, start, alive) in [('S', 9, true), ('S', 10, false), ('Z', 9, false)] {
            let world = World::new();
            let path = world.left("500-9.json", "this", vec![world.sysctl("x", "new", "old")]);
            world.process(500, state, start);
            assert_eq!(world.clear().is_empty(), alive);
            assert_eq!(path.exists(), alive);
            assert_eq!(
                text(&world.dir.path().join("x")),
                if alive { "new" } else { "old" }
            );
        }
    }

    #[test]
    fn settings_of_another_boot_are_not_set_back_but_directories_are_removed() {
        let world = World::new();
        let scratch = world.state().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let directory = UndoEntry::Directory {
            path: scratch.clone().into(),
            id: None,
        };
        let path = world.left(
            "500-9.json",
            "that",
            vec![directory, world.sysctl("x", "new", "old")],
        );
        assert_eq!(world.clear().len(), 1);
        assert_eq!(text(&world.dir.path().join("x")), "new");
        assert!(!path.exists() && !scratch.exists());
    }

    #[test]
    fn what_cannot_be_read_or_undone_is_said_and_kept() {
        let world = World::new();
        let garbage = world.file("state/1-1.json", "{");
        let gone = UndoEntry::Sysctl(SysctlChange::alone(world.dir.path().join("no/such"), "1"));
        let path = world.left(
            "500-9.json",
            "this",
            vec![gone.clone(), world.sysctl("x", "2", "1")],
        );
        let lines = world.clear();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(garbage.exists());
        assert_eq!(load(&path).unwrap().entries, [gone]);
        let way_out = format!("restore that by hand, and remove {}", quote(&path));
        assert!(
            lines.iter().any(|line| line.ends_with(&way_out)),
            "{lines:?}"
        );
        assert_eq!(text(&world.dir.path().join("x")), "1");
    }

    /// Changes that the user must restore do not prevent measurements for ever, and are reported as long as they exist.
    #[test]
    fn what_cannot_be_undone_locks_nobody_out_once_it_was_tried() {
        let world = World::new();
        let gone = UndoEntry::Sysctl(SysctlChange::alone(world.dir.path().join("no/such"), "1"));
        let path = world.left("500-9.json", "this", vec![gone]);
        let open = || UndoJournal::open_in(&world.state(), &world.root()).unwrap();
        let entry = world.sysctl("x", "3", "1");
        let error = open().add(entry.clone()).unwrap_err().to_string();
        assert!(error.contains("just died"), "{error}");
        for _ in 0..2 {
            assert_eq!(world.clear().len(), 1);
            let mut record = open();
            assert_eq!(record.add(entry.clone()), Ok(()));
            assert!(record.undo_all().is_empty());
        }
        world.file("no/such", "2");
        assert!(world.clear()[0].ends_with("no/such' back to '1'"));
        assert!(!path.exists());
    }

    /// The journal was written by an older version of forklat.
    #[test]
    fn a_record_without_what_lies_around_is_understood() {
        let world = World::new();
        let x = world.file("x", "2");
        let text = format!(
            r#"{{"v":1,"boot":"this","entries":[{{"kind":"sysctl","file":{x:?},"old":"1"}}]}}"#
        );
        world.file("state/500-9.json", &text);
        assert!(world.clear()[0].ends_with("x' back to '1'"));
        assert_eq!(super::tests::text(&x), "1");
    }

    #[test]
    fn the_file_is_there_before_the_change_and_gone_after_the_last() {
        let world = World::new();
        let mut record = UndoJournal::open_in(&world.state(), &world.root()).unwrap();
        assert!(!record.file.exists());
        let (one, two) = (world.sysctl("x", "3", "1"), world.sysctl("y", "3", "2"));
        record.add(one.clone()).unwrap();
        record.add(two.clone()).unwrap();
        assert_eq!(load(&record.file).unwrap().entries, [one, two.clone()]);
        record.remove(&two).unwrap();
        assert!(record.undo_all().is_empty());
        assert!(!record.file.exists());
        assert_eq!(text(&world.dir.path().join("x")), "1");
        assert_eq!(text(&world.dir.path().join("y")), "3");
    }

    #[test]
    fn one_forklat_at_a_time_changes_settings() {
        let world = World::new();
        let open = |pid: u32| {
            world.process(pid, 'S', 9);
            let mut record = UndoJournal::open_in(&world.state(), &world.root()).unwrap();
            record.file = world.state().join(format!("{pid}-9.json"));
            record
        };
        let (mut first, mut second) = (open(500), open(501));
        let entry = world.sysctl("x", "3", "1");
        first.add(entry.clone()).unwrap();
        let error = second.add(entry.clone()).unwrap_err().to_string();
        assert!(error.contains("another forklat"), "{error}");
        // Directories belong to each forklat alone, so they need no lock.
        let scratch = second.scratch(world.dir.path()).unwrap();
        world.left("502-9.json", "this", vec![entry.clone()]);
        assert!(world.clear()[0].contains("another forklat"));
        assert_eq!(text(&world.dir.path().join("x")), "3");
        assert!(first.undo_all().is_empty());
        let error = second.add(entry.clone()).unwrap_err().to_string();
        assert!(error.contains("just died"), "{error}");
        assert_eq!(world.clear().len(), 1);
        assert_eq!(second.add(entry), Ok(()));
        assert!(second.undo_all().is_empty() && !scratch.exists());
    }

    /// A killed forklat whose thread waits for the disk ends when the limit is lifted.
    #[test]
    fn one_that_was_killed_and_still_has_the_lock_is_freed_of_its_limit() {
        let world = World::new();
        let file = world.file("limit", "254:0 100");
        let throttle = UndoEntry::Throttle {
            file: file.clone(),
            device: "254:0".into(),
            old: 0,
        };
        let entries = vec![world.sysctl("x", "3", "1"), throttle];
        let path = world.left("500-9.json", "this", entries);
        let lock = try_lock(&world.state()).unwrap().unwrap();
        let dying = std::thread::spawn(move || {
            while text(&file) != "254:0 0" {
                std::thread::sleep(LOCK_POLL_INTERVAL);
            }
            drop(lock);
        });
        let lines = world.clear();
        dying.join().unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(text(&world.dir.path().join("x")), "1");
        assert!(!path.exists());
    }

    #[test]
    fn a_scratch_directory_is_ours_alone_and_goes_with_what_is_in_it() {
        let world = World::new();
        let mut record = UndoJournal::open_in(&world.state(), &world.root()).unwrap();
        let one = record.scratch(world.dir.path()).unwrap();
        let two = record.scratch(world.dir.path()).unwrap();
        assert_eq!(one.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::write(one.join("file"), "x").unwrap();
        assert!(record.undo_all().is_empty());
        assert!(!one.exists() && !two.exists());
        assert!(
            record
                .scratch(&one)
                .unwrap_err()
                .to_string()
                .starts_with("cannot make directory")
        );
        assert!(!record.file.exists());
    }

    #[test]
    fn a_directory_that_others_can_write_or_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check_private_dir(dir.path()), Ok(()));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(check_private_dir(&link).is_err());
        let open = dir.path().join("open");
        std::fs::create_dir(&open).unwrap();
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&open, all).unwrap();
        assert!(check_private_dir(&open).is_err());
    }
}
