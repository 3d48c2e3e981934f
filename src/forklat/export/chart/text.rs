//! Text for a chart in SVG or HTML: escaped, shortened and broken into lines, since SVG does none of it.

/// Replaces the characters that would end a text or an attribute of XML, and those that XML 1.0 does not allow.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => out.push(' '),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(c),
        }
    }
    out
}

/// Shortens a text to at most `chars` characters, of which the last is an ellipsis if anything was left out.
#[must_use]
pub fn shorten(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept = text.chars().take(chars.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// Breaks a text at its spaces into lines of at most `chars` characters. A longer word has a line of its own.
#[must_use]
pub fn wrap(text: &str, chars: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= chars => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{escape, shorten, wrap};

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(
            escape("<a href=\"x\">&\n\u{1}"),
            "&lt;a href=&quot;x&quot;&gt;&amp; \u{fffd}"
        );
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(shorten("mmapcp", 6), "mmapcp");
        assert_eq!(shorten("mmapcp --idle", 6), "mmapc…");
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("a longer b", 4), ["a", "longer", "b"]);
        assert!(wrap("", 4).is_empty());
    }
}
