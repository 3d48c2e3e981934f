//! Sets mode, owner, times, extended attributes and security context of a new file, in cp's order. The command line
//! decides whether each is required or best effort.

mod acl;
mod creation_mode;
mod handle;
mod owner;
pub mod security_context;
mod xattrs;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::sys::stat::{FileStat, SFlag};

use super::at_path::AtPath;
use super::entry_error::EntryError;
use super::error::{Error, Operation, Replaced, ReplacedWhileCopied};
use super::options::{CopyOptions, Preserve};
use crate::cp::file_status::{file_id, file_type_of_mode};
use creation_mode::PendingMode;
use handle::AttrHandle;
use owner::OwnerOutcome;
pub(super) use xattrs::DRAIN_MARKS;
use xattrs::{ReportLevel, XattrRules};

/// The default modes of a file and of a directory, before the umask is applied.
const FILE_DEFAULT: u32 = 0o666;
const DIRECTORY_DEFAULT: u32 = 0o777;

/// A required attribute was not preserved. The error is among those of the [`AttrCopy`].
#[derive(Debug)]
struct Unpreserved;

/// Whether the required attributes were preserved.
type AttrResult = Result<(), Unpreserved>;

/// The result of setting the attributes of one file.
#[derive(Debug)]
#[must_use]
pub struct AttrReport {
    /// The failures that are reported to the user, in the order of their occurrence.
    pub errors: Vec<Error>,
    /// Whether a required attribute was not preserved.
    pub is_incomplete: bool,
}

impl AttrReport {
    fn new(errors: Vec<Error>, result: AttrResult) -> Self {
        Self {
            errors,
            is_incomplete: result.is_err(),
        }
    }

    /// Returns the error of a file whose errors have been reported, if a required attribute was not preserved.
    pub(super) fn result(&self) -> Result<(), EntryError> {
        if self.is_incomplete {
            Err(EntryError::Reported)
        } else {
            Ok(())
        }
    }
}

/// The attributes that a run preserves, and how. There is one value for a run.
#[derive(Debug)]
pub struct Attributes {
    preserve: Preserve,
    umask: u32,
    /// Whether the process is root, which may give files away and write against permissions.
    root: bool,
    attributes_only: bool,
    /// The security context of all new files, if the user named one.
    context: Option<OsString>,
    rules: XattrRules,
}

impl Attributes {
    /// Returns what `options` ask for, where the file mode creation mask is `umask`.
    #[must_use]
    pub fn new(options: &CopyOptions, umask: u32) -> Self {
        let mut preserve = options.preserve;
        let contexts = (preserve.context || options.context.is_some())
            && security_context::has_security_contexts();
        preserve.context &= contexts;
        Self {
            preserve,
            umask,
            root: nix::unistd::geteuid().is_root(),
            attributes_only: options.attributes_only,
            context: options
                .context
                .clone()
                .filter(|context| contexts && !context.is_empty()),
            rules: if preserve.xattr {
                XattrRules::read(contexts)
            } else {
                XattrRules::default()
            },
        }
    }

    /// Sets all attributes that follow the data of a regular file, or of a file that was copied as one. `made` says
    /// that this run made the file.
    pub fn finish_file(
        &self,
        source: &File,
        from: &FileStat,
        dest: &File,
        made: bool,
        (source_path, dest_path): (&Path, &Path),
    ) -> AttrReport {
        let mut copy = AttrCopy::new(self, from, source_path, dest_path);
        let result = copy.finish_file(&AttrHandle::Open(source), &AttrHandle::Open(dest), made);
        AttrReport::new(copy.errors, result)
    }

    /// Sets all attributes that follow the last entry of a directory. `listing` is the source directory where it could
    /// be opened. `made` is the result of [`grant_owner_access`](Self::grant_owner_access), where this run made the
    /// destination.
    pub fn finish_directory(
        &self,
        (place, listing): (&AtPath, Option<&File>),
        from: &FileStat,
        (dest, dest_path): (&File, &Path),
        made: Option<u32>,
    ) -> AttrReport {
        let mut copy = AttrCopy::new(self, from, place.shown(), dest_path);
        let made = made.map(|made| self.complete_directory(made, from));
        let result = copy.finish_directory(place, listing, dest, made);
        AttrReport::new(copy.errors, result)
    }

    /// Sets all attributes of a FIFO, a socket or a device that this run made, unless another file has replaced it.
    pub fn finish_special(&self, source: &AtPath, from: &FileStat, dest: &AtPath) -> AttrReport {
        let mut copy = AttrCopy::new(self, from, source.shown(), dest.shown());
        let result = copy.finish_special(source, dest);
        AttrReport::new(copy.errors, result)
    }

    /// Sets times, owner and extended attributes of a symbolic link that this run made, unless another file has
    /// replaced it. If `from` is not a symbolic link, -s made the link, and its owner is not changed.
    pub fn finish_symlink(&self, source: &AtPath, from: &FileStat, dest: &AtPath) -> AttrReport {
        let mut copy = AttrCopy::new(self, from, source.shown(), dest.shown());
        let result = copy.finish_symlink(source, dest);
        AttrReport::new(copy.errors, result)
    }

    /// Sets all attributes of a directory that --parents names, where every failure counts. `made` is the same as for
    /// [`finish_directory`](Self::finish_directory).
    pub fn finish_parent(
        &self,
        source: &AtPath,
        from: &FileStat,
        (dest, dest_path): (&File, &Path),
        made: Option<u32>,
    ) -> AttrReport {
        let mut copy = AttrCopy::new(self, from, source.shown(), dest_path);
        let result = copy.finish_parent(source, dest, made);
        AttrReport::new(copy.errors, result)
    }

    fn fail_if_required(&self) -> AttrResult {
        if self.preserve.required {
            Err(Unpreserved)
        } else {
            Ok(())
        }
    }
}

/// The attributes of one file while they are copied: the two files, and the errors so far.
struct AttrCopy<'a> {
    attributes: &'a Attributes,
    /// The status of the source.
    from: &'a FileStat,
    source_path: &'a Path,
    dest_path: &'a Path,
    errors: Vec<Error>,
}

impl<'a> AttrCopy<'a> {
    fn new(
        attributes: &'a Attributes,
        from: &'a FileStat,
        source_path: &'a Path,
        dest_path: &'a Path,
    ) -> Self {
        Self {
            attributes,
            from,
            source_path,
            dest_path,
            errors: Vec::new(),
        }
    }

    /// Records the error of an operation on the destination.
    fn push(&mut self, operation: Operation, error: impl Into<io::Error>) {
        self.errors
            .push(Error::io(operation, self.dest_path, error));
    }

    /// Records the error of an operation on the destination that counts even if no attribute is required.
    fn fail(&mut self, operation: Operation, error: impl Into<io::Error>) -> Unpreserved {
        self.push(operation, error);
        Unpreserved
    }

    fn finish_file(
        &mut self,
        source: &AttrHandle<'_>,
        to: &AttrHandle<'_>,
        made: bool,
    ) -> AttrResult {
        let (attributes, from) = (self.attributes, self.from);
        self.times(to)?;
        let mut owner = OwnerOutcome::Right;
        if attributes.preserve.ownership {
            let now = self.stat(to, Operation::Fstat)?;
            if (now.st_uid, now.st_gid) != (from.st_uid, from.st_gid) {
                owner = self.copy_owner(to, &now, made)?;
            }
        }
        let extra = if made { attributes.extra(from) } else { 0 };
        if extra != 0 {
            let now = self.stat(to, Operation::Fstat)?;
            if now.st_mode & extra == 0 {
                // If this fails, setting the extended attribute fails too, and that failure is reported.
                let _ = to.set_mode(now.st_mode | extra);
            }
        }
        let extended = self.extended(source, to);
        let mode = if attributes.preserve.mode {
            self.mode(source, to, owner.mode(from))
        } else if !made {
            Ok(())
        } else if attributes.preserve.default_mode {
            self.default_mode(to, FILE_DEFAULT)
        } else if extra != 0 || attributes.deferred_bits(from) != 0 {
            self.widened(to.set_mode(from.st_mode & DIRECTORY_DEFAULT & !attributes.umask))
        } else {
            Ok(())
        };
        extended.and(mode)
    }

    fn finish_directory(
        &mut self,
        place: &AtPath,
        listing: Option<&File>,
        dest: &File,
        made: Option<PendingMode>,
    ) -> AttrResult {
        let to = AttrHandle::of(dest).map_err(|e| self.fail(Operation::Fstat, e))?;
        let source = match listing {
            Some(file) => AttrHandle::Open(file),
            None => self.source_at(place)?,
        };
        self.finish(&source, &to, made)
    }

    fn finish_special(&mut self, source: &AtPath, dest: &AtPath) -> AttrResult {
        let (attributes, from) = (self.attributes, self.from);
        let preserve = attributes.preserve;
        let later = preserve.timestamps || preserve.xattr || attributes.changes_mode();
        if !later {
            return Ok(());
        }
        let (to, now) = self.pin_made(dest, file_type_of_mode(from.st_mode))?;
        if now.st_nlink > 1 || now.st_rdev != from.st_rdev {
            return Err(self.replaced());
        }
        let held = self.source_at(source)?;
        let made = Some(PendingMode::add(attributes.deferred_bits(from)));
        self.finish(&held, &to, made)
    }

    fn finish_symlink(&mut self, source: &AtPath, dest: &AtPath) -> AttrResult {
        let preserve = self.attributes.preserve;
        if !(preserve.ownership || preserve.timestamps || preserve.xattr) {
            return Ok(());
        }
        let (to, now) = self.pin_made(dest, SFlag::S_IFLNK)?;
        if now.st_nlink > 1 {
            // More than one hard link: another name of the link may lie elsewhere.
            return Err(self.replaced());
        }
        if preserve.ownership && file_type_of_mode(self.from.st_mode) == SFlag::S_IFLNK {
            self.give_link(&to)?;
        }
        self.times(&to)?;
        if !preserve.xattr {
            return Ok(());
        }
        let link = self.source_at(source)?;
        self.extended(&link, &to)
    }

    fn finish_parent(&mut self, source: &AtPath, dest: &File, made: Option<u32>) -> AttrResult {
        let (attributes, from) = (self.attributes, self.from);
        let preserve = attributes.preserve;
        let to = AttrHandle::from_clone(dest).map_err(|e| self.fail(Operation::Access, e))?;
        let now = self.stat(&to, Operation::Stat)?;
        if preserve.timestamps {
            to.set_times(from)
                .map_err(|e| self.fail(Operation::SetParentTimes, e))?;
        }
        if preserve.ownership {
            self.give_parent(&to, &now)?;
        }
        if preserve.mode {
            let held = self.source_at(source)?;
            return self.copy_mode(&held, &to, from.st_mode);
        }
        let Some(made) = made else {
            return Ok(());
        };
        attributes
            .complete_parent(made, from)
            .apply(&to)
            .map_err(|e| self.fail(Operation::SetParentMode, e))
    }

    /// Sets the attributes that are common to all files that are not regular. `made` is the change that is still to be
    /// made to the mode of a file that this run made.
    fn finish(
        &mut self,
        source: &AttrHandle<'_>,
        to: &AttrHandle<'_>,
        made: Option<PendingMode>,
    ) -> AttrResult {
        let (preserve, from) = (self.attributes.preserve, self.from);
        self.times(to)?;
        let inherited = match made {
            Some(_) if preserve.default_mode => self.inherited(to)?,
            _ => 0,
        };
        let mut owner = OwnerOutcome::Right;
        if preserve.ownership {
            let now = self.stat(to, Operation::Stat)?;
            if made.is_some() || (now.st_uid, now.st_gid) != (from.st_uid, from.st_gid) {
                owner = self.copy_owner(to, &now, made.is_some())?;
            }
        }
        self.extended(source, to)?;
        if preserve.mode {
            return self.mode(source, to, owner.mode(from));
        }
        match made {
            Some(_) if preserve.default_mode => self.default_mode(to, default_of(from) | inherited),
            Some(completion) => self.widened(completion.apply(to)),
            None => Ok(()),
        }
    }

    fn times(&mut self, to: &AttrHandle<'_>) -> AttrResult {
        if self.attributes.preserve.timestamps
            && let Err(e) = to.set_times(self.from)
        {
            self.push(Operation::SetTimes, e);
            return self.attributes.fail_if_required();
        }
        Ok(())
    }

    fn extended(&mut self, source: &AttrHandle<'_>, to: &AttrHandle<'_>) -> AttrResult {
        let preserve = self.attributes.preserve;
        if !preserve.xattr {
            return Ok(());
        }
        let told = ReportLevel::of(
            self.attributes.attributes_only || preserve.xattr_required,
            preserve.quiet,
        );
        let paths = (self.source_path, self.dest_path);
        let rules = &self.attributes.rules;
        match xattrs::copy(rules, told, (source, to), paths, &mut self.errors) {
            Err(Unpreserved) if preserve.xattr_required => Err(Unpreserved),
            _ => Ok(()),
        }
    }

    fn mode(&mut self, source: &AttrHandle<'_>, to: &AttrHandle<'_>, mode: u32) -> AttrResult {
        self.copy_mode(source, to, mode)
            .or_else(|Unpreserved| self.attributes.fail_if_required())
    }

    fn default_mode(&mut self, to: &AttrHandle<'_>, everything: u32) -> AttrResult {
        acl::set_mode_without_acl(to, everything & !self.attributes.umask)
            .map_err(|e| self.fail(Operation::SetDefaultMode, e))
    }

    fn widened(&mut self, done: io::Result<()>) -> AttrResult {
        match done {
            Err(e) => {
                self.push(Operation::SetMode, e);
                self.attributes.fail_if_required()
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns the set-group-id bit that a new directory inherited from its parent, which --no-preserve=mode keeps. The
    /// mode is then set as a whole, which removes a sticky bit of the source. cp does the same since 9.5.
    fn inherited(&mut self, to: &AttrHandle<'_>) -> Result<u32, Unpreserved> {
        if file_type_of_mode(self.from.st_mode) != SFlag::S_IFDIR {
            return Ok(0);
        }
        let now = self.stat(to, Operation::Stat)?;
        Ok(now.st_mode & libc::S_ISGID)
    }

    fn copy_mode(&mut self, source: &AttrHandle<'_>, to: &AttrHandle<'_>, mode: u32) -> AttrResult {
        acl::copy(source, to, mode).map_err(|error| {
            self.errors.push(match error {
                acl::AclError::Source(e) => Error::io(Operation::ReadAcl, self.source_path, e),
                acl::AclError::Dest(e) => Error::io(Operation::SetAcl, self.dest_path, e),
            });
            Unpreserved
        })
    }

    /// Returns the status of the destination.
    fn stat(&mut self, to: &AttrHandle<'_>, operation: Operation) -> Result<FileStat, Unpreserved> {
        to.stat().map_err(|e| self.fail(operation, e))
    }

    /// Opens a source that cannot be opened for reading: the link at this path, or the file that it leads to. Fails
    /// where another file was swapped in, so that nothing is read from it.
    fn source_at(&mut self, place: &AtPath) -> Result<AttrHandle<'static>, Unpreserved> {
        let itself = |stat: FileStat| file_id(&stat) == file_id(self.from);
        let held = AttrHandle::open_o_path(place, false).and_then(|held| {
            if itself(held.stat()?) {
                return Ok(held);
            }
            let behind = AttrHandle::open_o_path(place, true)?;
            if itself(behind.stat()?) {
                Ok(behind)
            } else {
                Err(ReplacedWhileCopied.into())
            }
        });
        held.map_err(|e| {
            self.errors.push(place.error(Operation::Access, e));
            Unpreserved
        })
    }

    /// Opens the file of type `made` that this run made at this path. A file of another type that has replaced it is
    /// left alone.
    fn pin_made(
        &mut self,
        place: &AtPath,
        made: SFlag,
    ) -> Result<(AttrHandle<'static>, FileStat), Unpreserved> {
        let held = AttrHandle::open_o_path(place, false).and_then(|held| Ok((held.stat()?, held)));
        match held {
            Ok((now, held)) if file_type_of_mode(now.st_mode) == made => Ok((held, now)),
            Ok(_) => Err(self.replaced()),
            Err(e) => Err(self.fail(Operation::Access, e)),
        }
    }

    /// Records that another file has replaced the one that this run made.
    fn replaced(&mut self) -> Unpreserved {
        let path = self.dest_path.into();
        self.errors.push(Error::Replaced(Replaced::Made(path)));
        Unpreserved
    }
}

/// Returns the mode that --no-preserve=mode gives to a file that is not regular.
fn default_of(from: &FileStat) -> u32 {
    match file_type_of_mode(from.st_mode) {
        SFlag::S_IFDIR | SFlag::S_IFSOCK => DIRECTORY_DEFAULT,
        _ => FILE_DEFAULT,
    }
}
