//! Measures and shortens text in columns of a terminal, in which a character takes none, one or two.

use unicode_width::UnicodeWidthChar;

use super::quote::is_utf8_locale;

/// Returns how many columns a terminal needs for a text without control characters.
#[must_use]
pub(super) fn display_width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Terminals advance by characters, so joined emoji count as their parts.
fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Returns the sign for text that was left out: one that the locale can show.
fn ellipsis() -> &'static str {
    if is_utf8_locale() { "…" } else { "..." }
}

/// Leaves out the end of a text that is wider than `width` columns.
#[must_use]
pub(super) fn shorten_end(text: &str, width: usize) -> String {
    shorten(text, width, ellipsis(), 0)
}

/// Leaves out the middle of a name that is wider than `width` columns. Two thirds of what stays are the end, in which
/// names of one directory differ.
#[must_use]
pub(super) fn shorten_middle(name: &str, width: usize) -> String {
    let room = width.saturating_sub(display_width(ellipsis()));
    shorten(name, width, ellipsis(), room - room / 3)
}

/// Replaces the part before the last `tail` columns by `sign`, so that the text takes at most `width` columns.
fn shorten(text: &str, width: usize, sign: &str, tail: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(display_width(sign)) else {
        return first_columns(text, width).to_owned();
    };
    let head = first_columns(text, room.saturating_sub(tail));
    format!("{head}{sign}{}", last_columns(text, tail))
}

/// Returns the longest beginning of a text that takes at most `width` columns.
fn first_columns(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += char_width(*c);
        used > width
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// Returns the longest end of a text that takes at most `width` columns. It does not begin with a character without a
/// width, which would be drawn over the one before it.
fn last_columns(text: &str, width: usize) -> &str {
    let mut used = 0;
    let outside = text.char_indices().rev().find(|(_, c)| {
        used += char_width(*c);
        used > width
    });
    let end = outside.map_or(text, |(at, c)| &text[at + c.len_utf8()..]);
    end.trim_start_matches(|c| char_width(c) == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_name_stays() {
        for (name, width, want) in [
            ("short", 5, "short"),
            ("a-long-archive-2026-11-30.tar.gz", 16, "a-lon…-30.tar.gz"),
            // Two columns each.
            ("記録記録記録.log", 10, "記…録.log"),
            // The accent belongs to the letter that was cut off.
            ("xxxxxxe\u{301}abcd", 7, "xx…abcd"),
            ("name", 1, "…"),
            ("name", 0, ""),
        ] {
            let room = width.max(1) - 1;
            assert_eq!(shorten(name, width, "…", room - room / 3), want, "{name}");
        }
        assert_eq!(shorten("held to 35 MiB/s", 8, "...", 0), "held ...");
        assert_eq!(shorten("held", 2, "...", 0), "he");
    }

    proptest! {
        #[test]
        fn no_text_is_wider_than_its_room(text in "\\PC{0,40}", width in 0_usize..30) {
            for short in [shorten_end(&text, width), shorten_middle(&text, width)] {
                prop_assert!(display_width(&short) <= width, "{short:?}");
            }
        }
    }
}
