//! /proc/pressure: how long tasks have waited for CPU, memory and disks (PSI, Linux 4.20).

use std::io;
use std::path::Path;

use super::proc_file::{ProcFile, lines, parse_number, words};
use super::{METRIC_COUNT, Metric, MetricValues};
use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::observe::kernel_file::path_below;

/// The files, with what they fill in.
///
/// `cpu full` means nothing for a whole machine (Documentation/accounting/psi.rst): absent before Linux 5.13, always 0 since.
const PSI_FILES: [(&str, Metric, Metric); 3] = [
    ("proc/pressure/cpu", Metric::CpuSome, Metric::CpuFull),
    (
        "proc/pressure/memory",
        Metric::MemorySome,
        Metric::MemoryFull,
    ),
    ("proc/pressure/io", Metric::IoSome, Metric::IoFull),
];

/// The open files, of what waits for CPU, memory and disks.
#[derive(Debug)]
pub(super) struct PsiFiles([ProcFile; 3]);

impl PsiFiles {
    /// Opens all three.
    ///
    /// # Errors
    /// Why there is no PSI here, for the user.
    pub(super) fn open(root: &Path) -> Result<Self, ObserveError> {
        let [cpu, memory, disks] = PSI_FILES.map(|(name, ..)| open_psi_file(root, name));
        Ok(Self([cpu?, memory?, disks?]))
    }

    /// Fills in the microseconds stalled since boot.
    pub(super) fn read(&mut self, values: &mut MetricValues) {
        for (text, (_, some, full)) in self.0.iter_mut().zip(PSI_FILES) {
            read_into(text, some, full, values);
        }
    }
}

/// How long tasks have waited for memory and for disks: for who has to give way while they do.
#[derive(Debug)]
pub struct StallCounters([ProcFile; 2]);

impl StallCounters {
    /// Opens both files; after that it allocates nothing.
    ///
    /// # Errors
    /// Why there is no PSI here, for the user.
    pub fn open(root: &Path) -> Result<Self, ObserveError> {
        let [_, memory, disks] = PSI_FILES;
        Ok(Self([
            open_psi_file(root, memory.0)?,
            open_psi_file(root, disks.0)?,
        ]))
    }

    /// Microseconds since boot in which some task waited for memory, and in which some task waited for a disk; `None` for
    /// what cannot be read this time. A copier waits for its own disk, and that counts, too.
    pub fn read(&mut self) -> (Option<u64>, Option<u64>) {
        let mut values = [None; METRIC_COUNT];
        for (text, (_, some, full)) in self.0.iter_mut().zip(&PSI_FILES[1..]) {
            read_into(text, *some, *full, &mut values);
        }
        let said = |field: Metric| values[field as usize];
        (said(Metric::MemorySome), said(Metric::IoSome))
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

fn explain_open_error(path: &Path, error: io::Error) -> ObserveError {
    match error.raw_os_error() {
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

    use super::{StallCounters, explain_open_error};

    /// As the kernel does, the files say something else each time.
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
        assert!(
            StallCounters::open(root.path())
                .unwrap_err()
                .to_string()
                .contains("no /proc/pressure")
        );
        say("io", "554123663");
        let mut stalls = StallCounters::open(root.path()).unwrap();
        assert_eq!(stalls.read(), (Some(71), Some(554_123_663)));
        say("memory", "72");
        say("io", "a lot");
        assert_eq!(stalls.read(), (Some(72), None));
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
        assert!(why(libc::EOPNOTSUPP).contains("psi=0"));
        assert_eq!(
            why(libc::EACCES),
            "cannot read '/proc/pressure/io': Permission denied"
        );
    }
}
