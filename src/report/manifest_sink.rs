//! The file that lines with digests go to, in place of standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::sys::lock::lock;

/// Writes lines to a file, and keeps the first error.
#[derive(Debug, Default)]
pub(super) struct ManifestSink {
    file: OnceLock<Mutex<io::Result<BufWriter<File>>>>,
    /// Whether the file must not get its name.
    is_discarded: AtomicBool,
}

impl ManifestSink {
    /// Sets the file. Only the first call has an effect.
    pub(super) fn open(&self, file: File) {
        self.file
            .get_or_init(|| Mutex::new(Ok(BufWriter::new(file))));
    }

    /// Returns whether there is a file.
    pub(super) fn is_open(&self) -> bool {
        self.file.get().is_some()
    }

    /// Makes sure that the file does not get its name.
    pub(super) fn discard(&self) {
        self.is_discarded.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`discard`](Self::discard) was called.
    pub(super) fn is_discarded(&self) -> bool {
        self.is_discarded.load(Ordering::Relaxed)
    }

    /// Writes a line, and its end.
    pub(super) fn write(&self, line: &[u8]) {
        self.apply(|file| {
            file.write_all(line)?;
            file.write_all(b"\n")
        });
    }

    /// Writes what is buffered, and returns the first error of all writes.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.apply(BufWriter::flush);
        let Some(state) = self.file.get() else {
            return Ok(());
        };
        match &*lock(state) {
            Ok(_) => Ok(()),
            Err(e) => Err(e
                .raw_os_error()
                .map_or_else(|| e.kind().into(), io::Error::from_raw_os_error)),
        }
    }

    /// Applies `write` unless an earlier one has failed.
    fn apply(&self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        let Some(state) = self.file.get() else { return };
        let mut state = lock(state);
        if let Ok(file) = &mut *state
            && let Err(e) = write(file)
        {
            *state = Err(e);
        }
    }
}
