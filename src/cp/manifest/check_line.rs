//! One line with a digest and a name, as sha256sum(1) and b3sum(1) write and check it.

use crate::transfer::{Digest, DigestAlgorithm};

/// Returns the line for a file, without its end. What the tool of the digest cannot read in a name is escaped, and a
/// backslash before the digest says so.
#[must_use]
pub(in crate::cp) fn check_line(digest: &Digest, name: &[u8]) -> Vec<u8> {
    let escapes = |byte: u8| escape(digest.algorithm, byte);
    let is_escaped = name.iter().any(|byte| escapes(*byte).is_some());
    let mut line = Vec::with_capacity(name.len() + digest.hex.len() + 3);
    if is_escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.hex.as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match escapes(*byte) {
            Some(letter) => line.extend_from_slice(&[b'\\', letter]),
            None => line.push(*byte),
        }
    }
    line
}

/// Returns the letter that stands for a byte behind a backslash. sha256sum escapes a carriage return since coreutils 9.0,
/// and b3sum 1.2 does not know that.
fn escape(algorithm: DigestAlgorithm, byte: u8) -> Option<u8> {
    match byte {
        b'\\' => Some(b'\\'),
        b'\n' => Some(b'n'),
        b'\r' if algorithm == DigestAlgorithm::Sha256 => Some(b'r'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_by_the_tools() {
        let sha256: [(&[u8], &[u8]); 5] = [
            (b"plain", b"12  plain"),
            (b" two words*", b"12   two words*"),
            (b"a\nb", b"\\12  a\\nb"),
            (b"a\\b\r", b"\\12  a\\\\b\\r"),
            (b"a\xffb", b"12  a\xffb"),
        ];
        let blake3: [(&[u8], &[u8]); 2] = [(b"a\nb", b"\\12  a\\nb"), (b"a\rb", b"12  a\rb")];
        let line = |algorithm, name| {
            let hex = "12".into();
            check_line(&Digest { algorithm, hex }, name)
        };
        for (name, want) in sha256 {
            assert_eq!(line(DigestAlgorithm::Sha256, name), want, "{name:?}");
        }
        for (name, want) in blake3 {
            assert_eq!(line(DigestAlgorithm::Blake3, name), want, "{name:?}");
        }
    }
}
