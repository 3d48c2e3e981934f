//! Hard links among the copied files, and links instead of copies.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{linkat, symlinkat};

use super::{CopyRun, DestPlan, EntryError, EntryResult, TreeEntry, Walk};
use crate::cp::at_path::{AtPath, last_component, sibling_path};
use crate::cp::backup;
use crate::cp::by_inode::{self, ExchangeOutcome, random_digits};
use crate::cp::dest;
use crate::cp::error::{Error, LinkOperation, Operation, Refusal, Warning};
use crate::cp::file_status::{FileId, file_id, is_directory, is_link};
use crate::cp::options::{Backup, CopyMode, Dereference, Overwrite};
use crate::sys::lock::lock;
use crate::sys::proc_status::is_proc_mounted;
use crate::transfer::errno_class::errno_of;

/// The name that each source was copied to, by the identity of the source, and the directories that this run made, by
/// their own identity.
#[derive(Default)]
pub(super) struct EarlierCopies {
    files: HashMap<FileId, EarlierCopy>,
}

/// The name that a source was copied to.
#[derive(Debug, Clone)]
pub(super) struct EarlierCopy {
    /// The operand that the copy belongs to, whose name is a prefix of all names below it.
    top: Arc<AtPath>,
    /// The path for messages. Its part below the operand is also used for opening the file.
    shown: PathBuf,
}

impl Walk<'_, '_, '_> {
    /// Returns the name that this source was copied to before, where links are preserved. If there is none, notes this
    /// name.
    pub(super) fn find_earlier_copy(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
    ) -> Option<EarlierCopy> {
        let options = self.options();
        if options.recursive && is_directory(from) {
            return if entry.operand() {
                self.find_or_note_copy(entry, from)
            } else {
                self.memory.files.get(&file_id(from)).cloned()
            };
        }
        let many = from.st_nlink > 1
            || entry.operand() && self.dereference(entry) == Dereference::Operands
            || self.dereference(entry) == Dereference::Always;
        if options.preserve.links && options.copy_mode != CopyMode::HardLink && many {
            self.find_or_note_copy(entry, from)
        } else {
            None
        }
    }

    /// Notes the destination of a source, or returns the one that was noted before and was copied successfully.
    pub(super) fn find_or_note_copy(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
    ) -> Option<EarlierCopy> {
        let key = file_id(from);
        if self.memory.files.contains_key(&key) && self.was_copied(key, from) {
            return self.memory.files.get(&key).cloned();
        }
        self.run.forget(key);
        self.memory.files.insert(key, self.earlier(entry));
        None
    }

    /// Removes the note about a source whose copy was not made.
    pub(super) fn forget(&mut self, from: &FileStat) {
        self.memory.files.remove(&file_id(from));
    }

    /// Returns whether the copy that was noted was made.
    fn was_copied(&mut self, key: FileId, from: &FileStat) -> bool {
        if is_directory(from) {
            return true;
        }
        if self.run.copy_result_of(key).is_none() {
            self.wait_in_flight();
        }
        matches!(self.run.copy_result_of(key), Some(Some(_)))
    }

    fn earlier(&self, entry: &TreeEntry) -> EarlierCopy {
        EarlierCopy {
            top: Arc::clone(&self.top.dest),
            shown: entry.dest.shown().to_owned(),
        }
    }

    /// Returns whether further links of this source become links to its copy.
    pub(super) fn is_remembered(&self, from: &FileStat) -> bool {
        self.memory.files.contains_key(&file_id(from))
    }

    /// Notes the first directory that is made for an operand by its own identity: if the walk meets it as a source, it
    /// is the copy itself.
    pub(super) fn note_first_made(&mut self, entry: &TreeEntry, from: &FileStat, made: &FileStat) {
        let within = entry
            .level
            .as_ref()
            .is_some_and(|level| level.is_within_new());
        // A directory on another device is not met as a source of this one, except through a mount within it.
        if !within || made.st_dev == from.st_dev && entry.operand() {
            let earlier = self.earlier(entry);
            self.memory.files.entry(file_id(made)).or_insert(earlier);
        }
    }

    /// Handles a directory that was met before, under any name. Returns `None` if it is copied nevertheless.
    pub(super) fn handle_repeated_directory(
        &mut self,
        entry: &TreeEntry,
        earlier: &EarlierCopy,
    ) -> Option<EntryResult> {
        let (source, dest) = (&entry.source, &entry.dest);
        // cp takes the target of a link for another directory, and repeats until the kernel counts forty links.
        if source.is_same_entry(&earlier.place()) {
            self.top.met_itself = true;
            let (from, to) = (&self.top.source, self.top.dest.shown());
            let error = Error::refused(Refusal::IntoItself, from, to);
            return Some(Err(error.into()));
        }
        if dest.is_same_entry(&earlier.place()) {
            let warning = Warning::RepeatedDirectory(self.top.source.clone());
            self.flushed_output().diagnose(warning);
            return Some(Ok(()));
        }
        if self.dereference(entry) == Dereference::Always
            || entry.operand() && self.dereference(entry) == Dereference::Operands
        {
            return None;
        }
        let error = Error::refused(Refusal::LinkToDirectory, &earlier.shown, dest.shown());
        Some(Err(error.into()))
    }

    /// Makes the destination a link to an earlier copy of the same file, in place of an existing file. Returns whether
    /// there was one.
    pub(super) fn link_earlier(
        &mut self,
        entry: &TreeEntry,
        earlier: &EarlierCopy,
        from: &FileStat,
        ready: &DestPlan,
    ) -> Result<bool, EntryError> {
        let dest = &entry.dest;
        let over = Replacement {
            backup: ready.planned_backup().and(self.options().backup.as_ref()),
            ..self.replacement(true, ready.there.as_ref())
        };
        let made = self.run.copy_result_of(file_id(from)).flatten();
        let linked = earlier
            .open(self.dereference(entry) != Dereference::Never)
            .and_then(|file| same_file(file, made))
            .and_then(|file| hard_link_fd(&file, &earlier.place(), dest, over));
        linked.map_err(|e| {
            cannot_link(LinkOperation::HardLink, dest.shown(), &earlier.shown, e).into()
        })
    }

    /// Makes a hard link to the source itself (-l).
    pub(super) fn link_source(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        follow: bool,
        there: Option<&FileStat>,
    ) -> EntryResult {
        let (source, dest) = (&entry.source, &entry.dest);
        let options = self.options();
        let replace = options.force || options.overwrite == super::Overwrite::Ask;
        let over = self.replacement(replace, there);
        let flags = if follow {
            OFlag::O_PATH
        } else {
            OFlag::O_PATH | OFlag::O_NOFOLLOW
        };
        let linked = source
            .open(flags, 0)
            .map_err(|e| errno_of(&e))
            .and_then(|file| same_file(file.into(), Some(file_id(from))))
            .and_then(|file| hard_link_fd(&file, source, dest, over));
        linked.map(drop).map_err(|e| {
            cannot_link(LinkOperation::HardLink, dest.shown(), source.shown(), e).into()
        })
    }

    /// Makes a symbolic link to the source, with the name that was given (-s).
    pub(super) fn symlink_to_source(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: Option<&FileStat>,
    ) -> EntryResult {
        let (source, dest) = (&entry.source, &entry.dest);
        let relative = !source.shown().as_os_str().as_bytes().starts_with(b"/");
        if relative && !is_in_current_directory(dest) {
            return Err(entry.refused(Refusal::RelativeSymlink));
        }
        let over = self.replacement(self.options().force, there);
        let made = symlink(source.shown().as_os_str(), dest, over);
        made.map_err(|e| cannot_link(LinkOperation::Symlink, dest.shown(), source.shown(), e))?;
        self.finish_link(entry, from)
    }

    /// Copies a symbolic link as a link.
    pub(super) fn copy_symlink(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: Option<&FileStat>,
    ) -> EntryResult {
        let (source, dest) = (&entry.source, &entry.dest);
        let target = readlinkat(source.dir(), source.path())
            .map_err(|e| source.error(Operation::ReadLink, e))?;
        let over = self.replacement(self.options().force, there);
        if let Err(e) = symlink(&target, dest, over) {
            let same = self.options().update
                && there.is_some_and(is_link)
                && readlinkat(dest.dir(), dest.path()).is_ok_and(|old| old == target);
            if !same {
                return Err(dest.error(Operation::CopySymlink, e).into());
            }
        }
        self.finish_link(entry, from)
    }

    /// Returns the files that a link may replace. Where the command line decides about each old file, this is only the
    /// file that was examined.
    fn replacement(&self, replace: bool, there: Option<&FileStat>) -> Replacement<'static> {
        let options = self.options();
        let any = options.overwrite == Overwrite::Replace && !options.update;
        let replaced = match there {
            _ if !replace => Replaceable::Nothing,
            _ if any && options.backup.is_none() => Replaceable::Any,
            Some(there) => Replaceable::Examined(file_id(there)),
            None => Replaceable::Nothing,
        };
        Replacement {
            replaced,
            backup: None,
        }
    }

    fn finish_link(&mut self, entry: &TreeEntry, from: &FileStat) -> EntryResult {
        let (source, dest) = (&entry.source, &entry.dest);
        let finished = self.run.attributes().finish_symlink(source, from, dest);
        self.report_attributes(&finished);
        Ok(())
    }
}

impl CopyRun<'_> {
    /// Notes the result for a source that has further links; `made` is `None` if it was not copied.
    pub(super) fn copied_as(&self, from: &FileStat, made: Option<FileId>) {
        let mut copied = lock(&self.copied);
        copied.insert(file_id(from), made);
    }

    fn forget(&self, key: FileId) {
        let mut copied = lock(&self.copied);
        copied.remove(&key);
    }

    /// Returns the result of a copy: `None` while it is in flight, and `Some(None)` if it failed.
    pub(super) fn copy_result_of(&self, key: FileId) -> Option<Option<FileId>> {
        let copied = lock(&self.copied);
        copied.get(&key).copied()
    }
}

impl EarlierCopy {
    /// Returns the path below the directory that the operand is in.
    fn path(&self) -> PathBuf {
        let top = self.top.shown().as_os_str().as_bytes();
        // Paths below an operand are joined without the trailing slashes of the operand, except for the root.
        let end = top
            .iter()
            .rposition(|b| *b != b'/')
            .map_or(top.len(), |i| i + 1);
        let shown = self.shown.as_os_str().as_bytes();
        let below = shown.get(end..).unwrap_or_default();
        let mut path = self.top.path().to_owned();
        path.push(OsStr::from_bytes(below));
        path.into()
    }

    /// Opens the file with O_PATH, one component at a time, so that no link that was swapped in redirects the access
    /// and no path is too long. With `follow`, a link at the end is followed.
    fn open(&self, follow: bool) -> nix::Result<OwnedFd> {
        let (path, flags) = (self.path(), OFlag::O_PATH | OFlag::O_CLOEXEC);
        let mut parts = path.components().peekable();
        let mut at: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let dir = at.as_ref().map_or(self.top.dir(), |fd| fd.as_fd());
            let last = parts.peek().is_none();
            let nofollow = if last && follow {
                OFlag::empty()
            } else {
                OFlag::O_NOFOLLOW
            };
            at = Some(openat(
                dir,
                part.as_os_str(),
                flags | nofollow,
                Mode::empty(),
            )?);
        }
        at.ok_or(Errno::ENOENT)
    }

    /// Returns the path of the copy.
    fn place(&self) -> AtPath {
        AtPath::new(Arc::clone(self.top.folder()), self.path(), &*self.shown)
    }
}

fn cannot_link(operation: LinkOperation, dest: &Path, target: &Path, error: Errno) -> Error {
    Error::Link {
        operation,
        dest: dest.into(),
        target: target.into(),
        error: error.into(),
    }
}

/// Returns the file, if it is the wanted one.
fn same_file(file: OwnedFd, wanted: Option<FileId>) -> nix::Result<OwnedFd> {
    let stat = fstat(&file)?;
    match wanted {
        Some(wanted) if wanted != file_id(&stat) => Err(Errno::ESTALE),
        _ => Ok(file),
    }
}

/// The files that a link may replace, and how.
#[derive(Clone, Copy)]
struct Replacement<'a> {
    replaced: Replaceable,
    /// The backup name that the old file gets in the same step.
    backup: Option<&'a Backup>,
}

/// The old files that a link may replace.
#[derive(Clone, Copy)]
enum Replaceable {
    Nothing,
    Examined(FileId),
    Any,
}

impl Replaceable {
    fn may_be(self, old: &FileStat) -> bool {
        match self {
            Self::Nothing => false,
            Self::Examined(examined) => file_id(old) == examined,
            Self::Any => !is_directory(old),
        }
    }
}

/// Gives an open file another name, in place of a file that may be replaced. Returns whether there was one.
fn hard_link_fd(
    file: &OwnedFd,
    named: &AtPath,
    dest: &AtPath,
    over: Replacement<'_>,
) -> nix::Result<bool> {
    let by_descriptor = OsString::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let make = |base: &OsStr| {
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        match linkat(
            AT_FDCWD,
            by_descriptor.as_os_str(),
            dest.dir(),
            base,
            follow,
        ) {
            // Without /proc the path must be used. Where /proc exists, ENOENT means that the file has no name left, and
            // its old name belongs to another file.
            Err(Errno::ENOENT) if !is_proc_mounted() => linkat(
                named.dir(),
                named.path(),
                dest.dir(),
                base,
                AtFlags::empty(),
            ),
            other => other,
        }
    };
    make_over(dest, over, make)
}

fn symlink(target: &OsStr, dest: &AtPath, over: Replacement<'_>) -> nix::Result<bool> {
    make_over(dest, over, |base| symlinkat(target, dest.dir(), base))
}

/// Makes a file under a name, in place of one that may be replaced. Returns whether there was one.
fn make_over(
    dest: &AtPath,
    over: Replacement<'_>,
    make: impl Fn(&OsStr) -> nix::Result<()>,
) -> nix::Result<bool> {
    for _ in 0..MAX_ROUNDS {
        match make(dest.path()) {
            Err(Errno::EEXIST) if !matches!(over.replaced, Replaceable::Nothing) => {}
            other => return other.map(|()| false),
        }
        let old = match by_inode::lstat_at(dest.dir(), dest.path()) {
            Ok(old) if over.replaced.may_be(&old) => old,
            Ok(_) => return Err(Errno::EEXIST),
            // This is a dangling link with a trailing slash after its name; otherwise the file was removed meanwhile.
            Err(Errno::ENOENT) if dest.path().as_bytes().ends_with(b"/") => {
                return Err(Errno::ENOTDIR);
            }
            Err(Errno::ENOENT) => continue,
            Err(e) => return Err(e),
        };
        let other = sibling_path(dest.path(), format!(".mmapcp-{}", random_digits()).as_ref());
        make(&other)?;
        let replaced = replace_by_name(dest, &other, over.backup, &old);
        match replaced {
            Ok(None) => {}
            other => return other.map(|replaced| replaced.unwrap_or(false)),
        }
    }
    Err(Errno::EEXIST)
}

/// Number of times that another process may replace the file at the name between its check and the rename.
const MAX_ROUNDS: u32 = 100;

/// Gives the name of the old file to the one that has just been made as `new`, in one step. Returns `None` if the old
/// file has been replaced meanwhile; the new file is removed then.
fn replace_by_name(
    dest: &AtPath,
    new: &OsStr,
    backup: Option<&Backup>,
    old: &FileStat,
) -> nix::Result<Option<bool>> {
    let mine = file_id(&by_inode::lstat_at(dest.dir(), new)?);
    let remove_new = || by_inode::remove_checked(dest.dir(), new, mine).map(drop);
    if mine == file_id(old) {
        // The file has the name already.
        return remove_new().map(|()| Some(true));
    }
    let is_old = |now: &FileStat| file_id(now) == file_id(old);
    if let Some(backup) = backup {
        let replaced = replace_with_backup(dest, (new, mine), backup, is_old);
        if !matches!(replaced, Ok(Some(_))) {
            remove_new()?;
        }
        return replaced;
    }
    match by_inode::exchange_checked(dest.dir(), (new, mine), dest.path(), is_old) {
        Ok(ExchangeOutcome::Done) => {
            by_inode::remove_checked(dest.dir(), new, file_id(old)).map(|_| Some(true))
        }
        Ok(ExchangeOutcome::Refused | ExchangeOutcome::Gone) => remove_new().map(|()| None),
        // The file that was there before the third one keeps the random name.
        Ok(ExchangeOutcome::Displaced) => Err(Errno::EEXIST),
        Err(e) if by_inode::is_unsupported(e) => {
            let renamed = match by_inode::lstat_at(dest.dir(), dest.path()) {
                Ok(now) if is_old(&now) => {
                    renameat(dest.dir(), new, dest.dir(), dest.path()).map(|()| Some(true))
                }
                _ => Ok(None),
            };
            if !matches!(renamed, Ok(Some(_))) {
                remove_new()?;
            }
            renamed
        }
        Err(e) => remove_new().and(Err(e)),
    }
}

fn replace_with_backup(
    dest: &AtPath,
    (new, mine): (&OsStr, FileId),
    backup: &Backup,
    is_old: impl Fn(&FileStat) -> bool,
) -> nix::Result<Option<bool>> {
    let entry = dest::resolve_link::resolve_nofollow(dest).map_err(|e| errno_of(&e))?;
    let name = last_component(new.as_ref());
    match backup::exchange_with_backup(&entry, (name, mine), backup, is_old) {
        Ok(backup::BackupReplaceOutcome::Done(_)) => Ok(Some(true)),
        Ok(backup::BackupReplaceOutcome::Refused) => Ok(None),
        Ok(backup::BackupReplaceOutcome::Displaced(_)) => Err(Errno::EEXIST),
        Err(
            backup::BackupError::Backup(e)
            | backup::BackupError::NeitherWay(e)
            | backup::BackupError::Name(e),
        ) => Err(e),
    }
}

/// Returns whether a name is in the current directory, as far as that can be determined. Where it cannot, the link
/// fails later.
fn is_in_current_directory(dest: &AtPath) -> bool {
    let here = fstatat(AT_FDCWD, ".", AtFlags::empty());
    match (here, dest.entry()) {
        (Ok(here), Ok((above, _))) => file_id(&here) == above,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io;

    /// A file that was not examined is not replaced where the command line decides about each old file.
    #[test]
    fn a_link_takes_the_place_of_the_file_that_was_looked_at() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (path, other) = (dir.path().join("dest"), dir.path().join("other"));
        fs::write(&path, "old")?;
        fs::write(&other, "another process's")?;
        let dest = AtPath::from_current(&path);
        let examined = Replaceable::Examined(file_id(&dest.stat(false)?));
        let make = |replaced, backup| {
            let over = Replacement { replaced, backup };
            symlink("target".as_ref(), &dest, over)
        };
        assert_eq!(make(Replaceable::Nothing, None), Err(Errno::EEXIST));
        fs::rename(&other, &path)?;
        assert_eq!(make(examined, None), Err(Errno::EEXIST));
        assert_eq!(fs::read(&path)?, b"another process's");
        let backup = Backup {
            names: crate::cp::options::BackupNames::Numbered,
            suffix: "~".into(),
        };
        let now = Replaceable::Examined(file_id(&dest.stat(false)?));
        assert_eq!(make(now, Some(&backup)), Ok(true));
        assert_eq!(fs::read_link(&path)?, std::path::Path::new("target"));
        let kept = dir.path().join("dest.~1~");
        assert_eq!(fs::read(kept)?, b"another process's");
        assert_eq!(make(Replaceable::Any, None), Ok(true));
        fs::remove_file(&path)?;
        assert_eq!(make(Replaceable::Nothing, None), Ok(false));
        assert_eq!(fs::read_dir(dir.path())?.count(), 2);
        Ok(())
    }
}
