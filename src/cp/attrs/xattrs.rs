//! Extended attributes, copied by the rules of libattr and its `/etc/xattr.conf`.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::handle::AttrHandle;
use super::{AttrResult, Unpreserved};
use crate::cp::error::{Error, Operation, XattrOperation};
use crate::sys::fnmatch;

/// The file that names the attributes that are not copied as such, ACLs for instance.
const RULES: &str = "/etc/xattr.conf";

/// The attribute that holds the security context, which is copied separately.
pub(super) const SELINUX: &str = "security.selinux";

/// The names of the attribute that marks a source as freed in part (--drain), the one that every user can set first. It is
/// not copied.
pub(in crate::cp) const DRAIN_MARKS: [&str; 2] = ["user.mmapcp.drained", "trusted.mmapcp.drained"];

/// The failures that are reported to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportLevel {
    All,
    /// All failures except that a file system has no such attributes.
    Unexpected,
    Nothing,
}

impl ReportLevel {
    /// Returns `All` if `all` is set, else the level that `quiet` allows.
    pub(super) fn of(all: bool, quiet: bool) -> Self {
        match (all, quiet) {
            (true, _) => Self::All,
            (false, false) => Self::Unexpected,
            (false, true) => Self::Nothing,
        }
    }

    pub(super) fn tells(self, e: &io::Error) -> bool {
        let unsupported = matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENODATA));
        self == Self::All || self == Self::Unexpected && !unsupported
    }
}

/// The rules that exclude attributes from the copy.
#[derive(Debug, Default)]
pub(super) struct XattrRules {
    left_out: Vec<CString>,
    /// The error number with which the rules file cannot be used. No attribute is excluded then, as with libattr.
    unreadable: Option<i32>,
    /// Whether the security context is excluded, since it is copied separately.
    pub(super) without_context: bool,
}

impl XattrRules {
    /// Reads the rules of this machine.
    pub(super) fn read(without_context: bool) -> Self {
        let found = match fs::read(RULES) {
            Ok(text) => parse(&text).ok_or(libc::EINVAL),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e.raw_os_error().unwrap_or(libc::EIO)),
        };
        let (left_out, unreadable) = match found {
            Ok(left_out) => (left_out, None),
            Err(errno) => (Vec::new(), Some(errno)),
        };
        Self {
            left_out,
            unreadable,
            without_context,
        }
    }

    fn takes(&self, name: &OsStr) -> bool {
        if self.without_context && name == SELINUX || DRAIN_MARKS.iter().any(|mark| name == *mark) {
            return false;
        }
        // A name from the kernel has no NUL in it.
        CString::new(name.as_bytes())
            .is_ok_and(|name| !self.left_out.iter().any(|p| fnmatch::matches(p, &name)))
    }
}

/// Parses the patterns of a rules file. Each line has a pattern and `skip` or `permissions`, both of which exclude the
/// attribute. Returns `None` for any other line.
fn parse(text: &[u8]) -> Option<Vec<CString>> {
    let mut patterns = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let line = line.split(|b| *b == b'#').next().unwrap_or_default();
        let mut words = line.split(|b| b" \t".contains(b)).filter(|w| !w.is_empty());
        match (words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(pattern), Some(b"skip" | b"permissions"), None) => {
                patterns.push(CString::new(pattern).ok()?);
            }
            _ => return None,
        }
    }
    Some(patterns)
}

/// Copies all attributes that `rules` admit. A failure of one attribute does not prevent the copy of the others.
pub(super) fn copy(
    rules: &XattrRules,
    told: ReportLevel,
    (source, to): (&AttrHandle<'_>, &AttrHandle<'_>),
    (from, dest): (&Path, &Path),
    errors: &mut Vec<Error>,
) -> AttrResult {
    let mut ok = Ok(());
    if let (Some(errno), true) = (rules.unreadable, told != ReportLevel::Nothing) {
        let error = io::Error::from_raw_os_error(errno);
        errors.push(Error::io(Operation::ReadXattrRules, RULES, error));
    }
    let mut fail = |error: Error| {
        ok = Err(Unpreserved);
        if error.io_error().is_some_and(|e| told.tells(e)) {
            errors.push(error);
        }
    };
    let names = match source.list() {
        Ok(names) => names,
        Err(e) if lacking(&e) => return Ok(()),
        Err(e) => {
            fail(Error::io(Operation::ListXattrs, from, e));
            return ok;
        }
    };
    let mut refused = None;
    for name in names.iter().filter(|name| rules.takes(name)) {
        let value = match source.get(name) {
            Ok(Some(value)) => value,
            Ok(None) => continue,
            Err(e) => {
                fail(xattr_error(XattrOperation::Get, name, from, e));
                continue;
            }
        };
        match to.set(name, &value) {
            Ok(()) => {}
            // This error is reported once for all attributes, since it means that the file system has none.
            Err(e) if lacking(&e) => refused = Some(e),
            Err(e) => fail(xattr_error(XattrOperation::Set, name, dest, e)),
        }
    }
    if let Some(e) = refused {
        fail(Error::io(Operation::SetXattrs, dest, e));
    }
    ok
}

fn xattr_error(operation: XattrOperation, name: &OsStr, path: &Path, error: io::Error) -> Error {
    Error::Xattr {
        operation,
        name: name.to_owned(),
        path: path.into(),
        error,
    }
}

fn lacking(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_libattr_reads_them() {
        let rules = |text: &str| {
            parse(text.as_bytes()).map(|left_out| XattrRules {
                left_out,
                ..XattrRules::default()
            })
        };
        let some = rules("# words\n\n system.acl\tpermissions # why\nafs.*  skip\n").unwrap();
        for (name, takes) in [
            ("system.acl", false),
            ("afs.x", false),
            ("user.afs.x", true),
        ] {
            assert_eq!(some.takes(name.as_ref()), takes, "{name}");
        }
        for wrong in ["alone\n", "a copy\n", "a skip more\n"] {
            assert!(rules(wrong).is_none(), "{wrong}");
        }
        assert!(rules("").is_some_and(|rules| rules.takes(SELINUX.as_ref())));
    }
}
