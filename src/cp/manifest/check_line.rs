//! One line with a digest and a name, as sha256sum(1) and b3sum(1) write and check it.

/// Returns the line for a file, without its end. A name with a backslash or an end of a line is escaped, and a backslash
/// before the digest says so, as in GNU coreutils.
#[must_use]
pub(in crate::cp) fn check_line(hex: &str, name: &[u8]) -> Vec<u8> {
    let is_escaped = name
        .iter()
        .any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    let mut line = Vec::with_capacity(name.len() + hex.len() + 3);
    if is_escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(hex.as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_by_coreutils() {
        let table: [(&[u8], &[u8]); 5] = [
            (b"plain", b"12  plain"),
            (b" two words*", b"12   two words*"),
            (b"a\nb", b"\\12  a\\nb"),
            (b"a\\b\r", b"\\12  a\\\\b\\r"),
            (b"a\xffb", b"12  a\xffb"),
        ];
        for (name, line) in table {
            assert_eq!(check_line("12", name), line, "{name:?}");
        }
    }
}
