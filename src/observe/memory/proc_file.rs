//! A file of /proc that is opened once and read repeatedly without allocating.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::uio::pread;

use crate::sys::residency::page_size;

/// An open file with a buffer twice as long as its first text, since numbers and lines may grow.
#[derive(Debug)]
pub struct ProcFile {
    file: File,
    buffer: Vec<u8>,
}

impl ProcFile {
    /// Opens `path` and reads it once, which shows whether it can be read, and touches the buffer.
    ///
    /// # Errors
    /// The errors of open(2) and read(2): EOPNOTSUPP for pressure files under `psi=0` on some kernels.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = io::Read::read_to_end(&mut &file, &mut Vec::new())?;
        let page = page_size() as usize;
        let mut text = Self {
            file,
            buffer: vec![0; (2 * len + 1).next_multiple_of(page)],
        };
        text.read()?;
        Ok(text)
    }

    /// Reads the current text. The kernel makes it anew for a read at offset 0, and continues the same text for later
    /// offsets (seq_file; tests verify it).
    ///
    /// # Errors
    /// The error of pread(2); ENOBUFS if the text no longer fits, since half of it would look like missing fields.
    pub fn read(&mut self) -> nix::Result<&[u8]> {
        self.read_with_pauses(Duration::ZERO)
    }

    /// Does the same, and sleeps for `pause` between two calls. The kernel makes a page of text in each call, so that a
    /// text which takes long to make does not keep others from the CPU for all of that time.
    ///
    /// # Errors
    /// The same as of [`read`](Self::read).
    pub fn read_with_pauses(&mut self, pause: Duration) -> nix::Result<&[u8]> {
        let mut len = 0;
        loop {
            let rest = self.buffer.get_mut(len..).filter(|rest| !rest.is_empty());
            match pread(self.file.as_fd(), rest.ok_or(Errno::ENOBUFS)?, len as i64) {
                Ok(0) => return Ok(&self.buffer[..len]),
                Ok(n) => {
                    len += n;
                    if !pause.is_zero() {
                        std::thread::sleep(pause);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Returns the lines of a text.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// Returns the words of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// Parses a decimal number; returns `None` if it is no number or does not fit into 64 bits.
#[must_use]
pub fn parse_number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use nix::errno::Errno;

    use super::ProcFile;

    #[test]
    fn the_kernel_answers_anew_at_offset_0() {
        let mut stat = ProcFile::open(Path::new("/proc/self/stat")).unwrap();
        let before = stat.read().unwrap().to_vec();
        // The size of the address space is a field of the file.
        let _more = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert_ne!(stat.read().unwrap(), before);
    }

    #[test]
    fn a_text_read_with_pauses_is_the_same() {
        let mut maps = ProcFile::open(Path::new("/proc/cpuinfo")).unwrap();
        let names = |text: &[u8]| {
            let lines: Vec<_> = super::lines(text).map(<[u8]>::to_vec).collect();
            lines
                .iter()
                .map(|line| line.split(|b| *b == b':').next().unwrap().to_vec())
                .collect::<Vec<_>>()
        };
        let at_once = names(maps.read().unwrap());
        let paused = names(maps.read_with_pauses(Duration::from_micros(50)).unwrap());
        assert_eq!(at_once, paused);
    }

    #[test]
    fn a_text_that_outgrew_its_buffer_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut text = ProcFile::open(&path).unwrap();
        fs::write(&path, "two and more").unwrap();
        assert_eq!(text.read(), Ok(&b"two and more"[..]));
        fs::write(&path, vec![b'x'; 1 << 17]).unwrap();
        assert_eq!(text.read(), Err(Errno::ENOBUFS));
    }
}
