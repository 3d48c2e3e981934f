//! Reads /proc/pressure: how long tasks have waited for CPU, memory and disks (PSI, Linux 4.20).

use std::io;
use std::path::Path;

use super::proc_file::{ProcFile, lines, parse_number, words};
use super::{METRIC_COUNT, Metric, MetricValues};
use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::observe::kernel_file::path_below;

/// The files, with the metrics that each sets.
///
/// `cpu full` has no meaning for a whole machine (Documentation/accounting/psi.rst): absent before Linux 5.13, always 0
/// since.
const PSI_FILES: [(&str, Metric, Metric); 3] = [
    ("proc/pressure/cpu", Metric::CpuSome, Metric::CpuFull),
    (
        "proc/pressure/memory",
        Metric::MemorySome,
        Metric::MemoryFull,
    ),
    ("proc/pressure/io", Metric::IoSome, Metric::IoFull),
];

/// The open files for CPU, memory and io.
#[derive(Debug)]
pub(super) struct PsiFiles([ProcFile; 3]);

impl PsiFiles {
    /// Opens all three files.
    ///
    /// # Errors
    /// Why there is no PSI on this machine, for the user.
    pub(super) fn open(root: &Path) -> Result<Self, ObserveError> {
        let [cpu, memory, disks] = PSI_FILES.map(|(name, ..)| open_psi_file(root, name));
        Ok(Self([cpu?, memory?, disks?]))
    }

    /// Sets the microseconds stalled since boot.
    pub(super) fn read(&mut self, values: &mut MetricValues) {
        for (text, (_, some, full)) in self.0.iter_mut().zip(PSI_FILES) {
            read_into(text, some, full, values);
        }
    }
}

/// How long some task has waited for one resource: for a copy that has to give way while others wait.
#[derive(Debug)]
pub struct StallCounter {
    file: ProcFile,
    some: Metric,
    full: Metric,
}

impl StallCounter {
    /// Opens the file of `/proc/pressure` that has this name, `cpu`, `memory` or `io`. Reading it later allocates nothing.
    ///
    /// # Errors
    /// Why there is no PSI here, for the user.
    ///
    /// # Panics
    /// On a name that is no file of PSI.
    pub fn open(root: &Path, resource: &str) -> Result<Self, ObserveError> {
        let is_of = |(path, ..): &&(&str, Metric, Metric)| path.ends_with(&format!("/{resource}"));
        let found = PSI_FILES.iter().find(is_of);
        let (path, some, full) = *found.unwrap_or_else(|| unreachable!("no file of PSI"));
        Ok(Self {
            file: open_psi_file(root, path)?,
            some,
            full,
        })
    }

    /// Returns the microseconds since boot in which some task waited, or `None` if they cannot be read this time. A copier
    /// waits for its own disk, and that counts, too.
    pub fn read(&mut self) -> Option<u64> {
        let mut values = [None; METRIC_COUNT];
        read_into(&mut self.file, self.some, self.full, &mut values);
        values[self.some as usize]
    }
}

fn open_psi_file(root: &Path, name: &str) -> Result<ProcFile, ObserveError> {
    let path = path_below(root, name);
    ProcFile::open(&path).map_err(|e| explain_open_error(&path, e))
}

fn read_into(text: &mut ProcFile, some: Metric, full: Metric, values: &mut MetricValues) {
    if let Ok(text) = text.read() {
        parse(text, some, full, values);
    }
}

/// Returns whether a file would lie in a /proc that is mounted, in which each process finds itself.
fn is_below_proc(file: &Path) -> bool {
    let proc = file.parent().and_then(Path::parent);
    proc.is_some_and(|proc| proc.join("self").exists())
}

fn explain_open_error(path: &Path, error: io::Error) -> ObserveError {
    match error.raw_os_error() {
        Some(libc::ENOENT) if !is_below_proc(path) => {
            unavailable("no /proc/pressure: /proc is not mounted")
        }
        Some(libc::ENOENT) => unavailable(
            "no /proc/pressure: the kernel is older than 4.20, built without PSI, or started with psi=0",
        ),
        Some(libc::EOPNOTSUPP) => {
            unavailable("PSI is switched off: the kernel was started with psi=0")
        }
        _ => cannot("read", path, error),
    }
}

fn parse(text: &[u8], some: Metric, full: Metric, values: &mut MetricValues) {
    for line in lines(text) {
        let mut words = words(line);
        let field = match words.next() {
            Some(b"some") => some,
            Some(b"full") => full,
            _ => continue,
        };
        values[field as usize] = words
            .find_map(|word| word.strip_prefix(b"total="))
            .and_then(parse_number);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Error;
    use std::path::Path;

    use super::{StallCounter, explain_open_error};

    /// The files get a new text for each read, as the kernel's do.
    #[test]
    fn stalls_of_memory_and_of_disks_are_read_anew() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("proc/pressure");
        fs::create_dir_all(&dir).unwrap();
        let say = |name: &str, some: &str| {
            let averages = "avg10=0.00 avg60=0.00 avg300=0.00";
            let text = format!("some {averages} total={some}\nfull {averages} total=1\n");
            fs::write(dir.join(name), text).unwrap();
        };
        say("memory", "71");
        let missing = StallCounter::open(root.path(), "io").unwrap_err();
        assert!(missing.to_string().contains("no /proc/pressure"));
        say("io", "554123663");
        let mut memory = StallCounter::open(root.path(), "memory").unwrap();
        let mut disks = StallCounter::open(root.path(), "io").unwrap();
        assert_eq!((memory.read(), disks.read()), (Some(71), Some(554_123_663)));
        say("memory", "72");
        say("io", "a lot");
        assert_eq!((memory.read(), disks.read()), (Some(72), None));
    }

    #[test]
    fn each_way_to_have_no_psi_has_its_words() {
        let why = |errno| {
            explain_open_error(
                Path::new("/proc/pressure/io"),
                Error::from_raw_os_error(errno),
            )
            .to_string()
        };
        assert!(why(libc::ENOENT).contains("older than 4.20"));
        let elsewhere = Path::new("/no/proc/pressure/io");
        let error = explain_open_error(elsewhere, Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.to_string(), "no /proc/pressure: /proc is not mounted");
        assert!(why(libc::EOPNOTSUPP).contains("psi=0"));
        assert_eq!(
            why(libc::EACCES),
            "cannot read '/proc/pressure/io': Permission denied"
        );
    }
}
