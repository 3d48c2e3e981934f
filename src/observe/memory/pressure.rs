//! /proc/pressure: how long tasks have waited for CPU, memory and disks (PSI, Linux 4.20).

use std::io;
use std::path::Path;

use super::text::{Text, lines, number, words};
use super::{Field, Values};
use crate::observe::root::below;
use crate::report::quote::cannot;

/// The files, with what they fill in.
///
/// `cpu full` means nothing for a whole machine (Documentation/accounting/psi.rst): absent before Linux 5.13, always 0 since.
const FILES: [(&str, Field, Field); 3] = [
    ("proc/pressure/cpu", Field::CpuSome, Field::CpuFull),
    ("proc/pressure/memory", Field::MemorySome, Field::MemoryFull),
    ("proc/pressure/io", Field::IoSome, Field::IoFull),
];

/// The open files.
#[derive(Debug)]
pub(super) struct Pressure([Text; 3]);

impl Pressure {
    /// Opens all three.
    ///
    /// # Errors
    /// Why there is no PSI here, for the user.
    pub(super) fn open(root: &Path) -> Result<Self, String> {
        let [cpu, memory, disks] = FILES.map(|(name, ..)| {
            let path = below(root, name);
            Text::open(&path).map_err(|e| why(&path, &e))
        });
        Ok(Self([cpu?, memory?, disks?]))
    }

    /// Fills in the microseconds stalled since boot.
    pub(super) fn read(&mut self, values: &mut Values) {
        for (text, (_, some, full)) in self.0.iter_mut().zip(FILES) {
            if let Ok(text) = text.read() {
                parse(text, some, full, values);
            }
        }
    }
}

fn why(path: &Path, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            "no /proc/pressure: the kernel is older than 4.20, built without PSI, or started with psi=0"
                .into()
        }
        Some(libc::EOPNOTSUPP) => "PSI is switched off: the kernel was started with psi=0".into(),
        _ => cannot("read", path, error),
    }
}

fn parse(text: &[u8], some: Field, full: Field, values: &mut Values) {
    for line in lines(text) {
        let mut words = words(line);
        let field = match words.next() {
            Some(b"some") => some,
            Some(b"full") => full,
            _ => continue,
        };
        values[field as usize] = words
            .find_map(|word| word.strip_prefix(b"total="))
            .and_then(number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;
    use std::path::Path;

    use super::why;

    #[test]
    fn each_way_to_have_no_psi_has_its_words() {
        let why = |errno| {
            why(
                Path::new("/proc/pressure/io"),
                &Error::from_raw_os_error(errno),
            )
        };
        assert!(why(libc::ENOENT).contains("older than 4.20"));
        assert!(why(libc::EOPNOTSUPP).contains("psi=0"));
        assert_eq!(
            why(libc::EACCES),
            "cannot read '/proc/pressure/io': Permission denied"
        );
    }
}
