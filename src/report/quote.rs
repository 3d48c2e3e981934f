//! Quotes file names in messages as cp quotes them: always, for a shell, with escapes for unprintable characters.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// Quotes a file name in gnulib's style `shell-escape-always`.
#[must_use]
pub fn quote(name: impl AsRef<OsStr>) -> String {
    quote_bytes(name.as_ref().as_bytes(), is_utf8_locale())
}

/// Quotes a word that is not a file name, as cp's libraries do: gnulib's style `locale`.
#[must_use]
pub fn quote_word(word: impl AsRef<OsStr>) -> String {
    quote_word_bytes(word.as_ref().as_bytes(), is_utf8_locale())
}

/// Returns whether the locale shows characters beyond ASCII.
pub(super) fn is_utf8_locale() -> bool {
    static UTF8: OnceLock<bool> = OnceLock::new();
    *UTF8.get_or_init(locale_is_utf8)
}

/// Quotes a file name only if a shell would change it: gnulib's style `shell-escape`.
#[must_use]
pub fn quote_if_needed(name: impl AsRef<OsStr>) -> String {
    let name = name.as_ref();
    let special = |b: &u8| b" \t\n!\"$&'()*;<=>?[\\^`|~#".contains(b);
    let bytes = name.as_bytes();
    let inside = bytes
        .iter()
        .skip(1)
        .filter(|b| !b"#~".contains(b))
        .any(special);
    let quoted = quote(name);
    let changed = quoted.len() != bytes.len() + 2;
    if bytes.first().is_none_or(special) || inside || changed {
        quoted
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// Returns whether the locale uses UTF-8. As in setlocale(3), the first variable that is set decides.
fn locale_is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.ends_with("utf-8") || value.ends_with("utf8")
        })
}

fn quote_bytes(bytes: &[u8], utf8: bool) -> String {
    let pieces = split_chars(bytes, utf8);
    let plain = pieces
        .iter()
        .all(|p| matches!(p, QuotedChar::Printed(c) if is_plain_in_double_quotes(*c)));
    if plain && bytes.contains(&b'\'') {
        return format!("\"{}\"", String::from_utf8_lossy(bytes));
    }
    let mut out = String::from("'");
    let mut escaping = false;
    for piece in pieces {
        match piece {
            QuotedChar::Printed(c) => {
                if escaping {
                    out.push_str("''");
                    escaping = false;
                }
                if c == '\'' {
                    out.push_str("'\\''");
                } else {
                    out.push(c);
                }
            }
            QuotedChar::Escaped(b) => {
                if !escaping {
                    out.push_str("'$'");
                    escaping = true;
                }
                push_escape(&mut out, b);
            }
        }
    }
    out.push('\'');
    out
}

fn quote_word_bytes(bytes: &[u8], utf8: bool) -> String {
    let (open, close) = if utf8 {
        ('\u{2018}', '\u{2019}')
    } else {
        ('\'', '\'')
    };
    let mut out = String::from(open);
    for piece in split_chars(bytes, utf8) {
        match piece {
            QuotedChar::Printed(c) => {
                if c == close || c == '\\' {
                    out.push('\\');
                }
                out.push(c);
            }
            QuotedChar::Escaped(b) => push_escape(&mut out, b),
        }
    }
    out.push(close);
    out
}

enum QuotedChar {
    Printed(char),
    Escaped(u8),
}

fn split_chars(bytes: &[u8], utf8: bool) -> Vec<QuotedChar> {
    let mut out = Vec::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii() && !c.is_ascii_control() || utf8 && !c.is_ascii() && !c.is_control() {
                out.push(QuotedChar::Printed(c));
            } else {
                let mut buffer = [0; 4];
                out.extend(c.encode_utf8(&mut buffer).bytes().map(QuotedChar::Escaped));
            }
        }
        out.extend(chunk.invalid().iter().copied().map(QuotedChar::Escaped));
    }
    out
}

/// Returns whether a character means the same between double quotes in C and in a shell.
fn is_plain_in_double_quotes(c: char) -> bool {
    c.is_alphanumeric() || " '%+,-./:]_{}".contains(c) || !c.is_ascii()
}

fn push_escape(out: &mut String, byte: u8) {
    match byte {
        7 => out.push_str("\\a"),
        8 => out.push_str("\\b"),
        9 => out.push_str("\\t"),
        10 => out.push_str("\\n"),
        11 => out.push_str("\\v"),
        12 => out.push_str("\\f"),
        13 => out.push_str("\\r"),
        b => out.push_str(&format!("\\{b:03o}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_gnulib_does() {
        for (name, want) in [
            (&b"a"[..], "'a'"),
            (b"a b$c", "'a b$c'"),
            (b"it's", "\"it's\""),
            (b"it's $5", "'it'\\''s $5'"),
            (b"a\xffb", "'a'$'\\377''b'"),
            (b"\n\t", "''$'\\n\\t'"),
            ("é".as_bytes(), "''$'\\303\\251'"),
            (b"", "''"),
        ] {
            assert_eq!(quote_bytes(name, false), want);
        }
        assert_eq!(quote_bytes("é".as_bytes(), true), "'é'");
    }

    #[test]
    fn words_are_quoted_as_gnulib_does() {
        for (word, plain, utf8) in [
            (&b"x"[..], "'x'", "\u{2018}x\u{2019}"),
            (b"i't", r"'i\'t'", "\u{2018}i't\u{2019}"),
            (b"\xff\n", r"'\377\n'", "\u{2018}\\377\\n\u{2019}"),
            (b"\\", r"'\\'", "\u{2018}\\\\\u{2019}"),
        ] {
            assert_eq!(quote_word_bytes(word, false), plain);
            assert_eq!(quote_word_bytes(word, true), utf8);
        }
    }
}
