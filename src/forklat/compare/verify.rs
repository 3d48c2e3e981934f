//! Compares a copy with its source byte for byte. The copy is read with O_DIRECT, since the page cache is part of what
//! was measured.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sys::uio::pread;

use super::background_work::ShouldStop;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::set_direct;
use crate::sys::strerror::strerror;

/// Bytes of one read (4 MiB), which a disk needs to be fast.
const CHUNK: usize = 4 << 20;

/// Returns how `copy` differs from `source`, or `None` if it does not.
pub(super) fn difference(source: &Path, copy: &Path, stop: ShouldStop<'_>) -> Option<String> {
    compare(source, copy, stop)
        .unwrap_or_else(|e| Some(format!("cannot be compared: {}", strerror(&e))))
}

fn compare(source: &Path, copy: &Path, stop: ShouldStop<'_>) -> io::Result<Option<String>> {
    let (source, copy) = (File::open(source)?, File::open(copy)?);
    let sizes = (source.metadata()?.len(), copy.metadata()?.len());
    if sizes.0 != sizes.1 {
        return Ok(Some(format!("size {} instead of {}", sizes.1, sizes.0)));
    }
    let mut direct = set_direct(&copy, true).is_ok();
    let (mut ours, mut theirs) = (AlignedBuffer::new(CHUNK)?, AlignedBuffer::new(CHUNK)?);
    let mut at = 0;
    while at < sizes.0 {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // The read ends at the end of the file, since nothing is aligned after it.
        let len = (sizes.0 - at).min(CHUNK as u64) as usize;
        let got = match read(&copy, &mut theirs, at, len) {
            // The file system reports its alignment only here, as EINVAL.
            Err(e) if direct && e.raw_os_error() == Some(libc::EINVAL) => {
                direct = false;
                set_direct(&copy, false)?;
                read(&copy, &mut theirs, at, len)?
            }
            other => other?,
        };
        let wanted = read(&source, &mut ours, at, len)?;
        if got != len || wanted != len {
            return Ok(Some(format!("changed while it was compared, at {at}")));
        }
        if ours[..got] != theirs[..got] {
            let first = ours
                .iter()
                .zip(theirs.iter())
                .position(|(a, b)| a != b)
                .unwrap_or(0);
            return Ok(Some(format!(
                "first different byte at {}",
                at + first as u64
            )));
        }
        at += got as u64;
    }
    Ok(None)
}

/// Reads `len` bytes at offset `at`, or up to the end of the file. Returns how many were read.
fn read(file: &File, buffer: &mut [u8], at: u64, len: usize) -> io::Result<usize> {
    let mut done = 0;
    while done < len {
        match pread(file, &mut buffer[done..], (at + done as u64).cast_signed()) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::difference;

    #[test]
    fn a_wrong_byte_is_found_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let bytes: Vec<u8> = (0..5_000_001_u32).map(|n| n as u8).collect();
        fs::write(&a, &bytes).unwrap();
        fs::write(&b, &bytes).unwrap();
        assert_eq!(difference(&a, &b, &|| false), None);
        for at in [0, 4095, 4096, 4_194_303, 4_194_304, 5_000_000] {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            fs::write(&b, &wrong).unwrap();
            let expected = format!("first different byte at {at}");
            assert_eq!(difference(&a, &b, &|| false), Some(expected));
        }
        fs::write(&b, &bytes[1..]).unwrap();
        assert_eq!(
            difference(&a, &b, &|| false),
            Some("size 5000000 instead of 5000001".into())
        );
        fs::remove_file(&b).unwrap();
        let missing = difference(&a, &b, &|| false).unwrap();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
