//! Fits the progress of a file or of a run into one line of a terminal: what matters least is left out first.

use super::progress_figures::ProgressFigures;
use super::text_width::{display_width, shorten_middle};
use super::units::{format_clock, format_files, format_size, format_size_of};

/// Columns between two fields, and in a line of less than [`WIDE_LINE`] columns.
const GAP: usize = 2;
const NARROW_GAP: usize = 1;

/// Columns from which on a line has room for all fields of a file in wide distance (58).
const WIDE_LINE: usize = 60;

/// Width of the shortest bar, brackets included: with fewer parts it says less than the percent beside it.
const MIN_BAR_WIDTH: usize = 12;

/// Width of the longest bar: numbers behind a longer one are too far from what they belong to.
const MAX_BAR_WIDTH: usize = 62;

/// Columns that a name gets before there is a bar.
const MIN_NAME_WIDTH: usize = 12;

/// Columns that a name gets before the bar grows beyond [`MIN_BAR_WIDTH`].
const NAME_WIDTH: usize = 24;

/// The fields in the order of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Percent,
    Bytes,
    Files,
    Rate,
    Elapsed,
    Left,
    Engine,
}

/// The fields of a line about the whole run, or about its only file, the most important first.
const RUN_RANKS: [Field; 8] = [
    Field::Percent,
    Field::Rate,
    Field::Left,
    Field::Bytes,
    Field::Elapsed,
    Field::Files,
    Field::Name,
    Field::Engine,
];

/// The same of a line about one file of several.
const FILE_RANKS: [Field; 8] = [
    Field::Name,
    Field::Percent,
    Field::Bytes,
    Field::Rate,
    Field::Left,
    Field::Elapsed,
    Field::Files,
    Field::Engine,
];

/// What a line of progress tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgressLine<'a> {
    pub(super) figures: &'a ProgressFigures,
    /// The name of the file, quoted if it needs to be; empty for none.
    pub(super) name: &'a str,
    /// Columns of the longest name in the lines that are shown together.
    pub(super) longest_name: usize,
    /// Whether the line is about one file of several, which its name must tell.
    pub(super) is_one_of_several: bool,
    /// The name of the engine; empty for none.
    pub(super) engine: &'a str,
}

impl ProgressLine<'_> {
    /// Formats the line so that it takes at most `width` columns.
    pub(super) fn fit(&self, width: usize) -> String {
        let ranks = if self.is_one_of_several {
            FILE_RANKS
        } else {
            RUN_RANKS
        };
        let gap = if width < WIDE_LINE { NARROW_GAP } else { GAP };
        let least_name = self.longest_name.min(MIN_NAME_WIDTH).min(width);
        let mut chosen = [false; 8];
        let mut room = width;
        for field in ranks {
            let columns = match field {
                Field::Name => least_name,
                _ => display_width(&self.text(field)),
            };
            let before = if room < width { gap } else { 0 };
            if columns == 0 {
                continue;
            }
            if columns + before > room {
                break;
            }
            chosen[field as usize] = true;
            room -= columns + before;
        }
        let (name_width, bar_width) = if chosen[Field::Name as usize] {
            self.share_room(room, gap, least_name, self.longest_name)
        } else {
            self.share_room(room, gap, 0, 0)
        };
        self.join(&chosen, gap, name_width, bar_width)
    }

    /// Distributes the columns that are left over, and returns those of the name and those of the bar. The name has
    /// `name_width` columns so far, and gets `longest` at most.
    fn share_room(
        &self,
        mut room: usize,
        gap: usize,
        mut name_width: usize,
        longest: usize,
    ) -> (usize, usize) {
        let mut bar_width = 0;
        let mut grow_name = |limit: usize, room: &mut usize| {
            let more = limit.min(longest).saturating_sub(name_width).min(*room);
            name_width += more;
            *room -= more;
        };
        grow_name(NAME_WIDTH, &mut room);
        if self.figures.percent().is_some() && room >= MIN_BAR_WIDTH + gap {
            bar_width = MIN_BAR_WIDTH;
            room -= MIN_BAR_WIDTH + gap;
        }
        grow_name(usize::MAX, &mut room);
        if bar_width > 0 {
            bar_width = (bar_width + room).min(MAX_BAR_WIDTH);
        }
        (name_width, bar_width)
    }

    /// Joins the chosen fields in their order, the bar behind the percent.
    fn join(&self, chosen: &[bool; 8], gap: usize, name_width: usize, bar_width: usize) -> String {
        let mut parts = Vec::new();
        if name_width > 0 {
            let name = shorten_middle(self.name, name_width);
            let padding = name_width - display_width(&name);
            parts.push(name + &" ".repeat(padding));
        }
        for field in [
            Field::Percent,
            Field::Bytes,
            Field::Files,
            Field::Rate,
            Field::Elapsed,
            Field::Left,
            Field::Engine,
        ] {
            if chosen[field as usize] {
                parts.push(self.text(field));
            }
            if field == Field::Percent && bar_width > 0 {
                parts.push(self.bar(bar_width));
            }
        }
        parts.join(&" ".repeat(gap)).trim_end().to_owned()
    }

    /// Formats one field; the text is empty if there is nothing to tell.
    fn text(&self, field: Field) -> String {
        let figures = self.figures;
        match field {
            Field::Name => self.name.to_owned(),
            Field::Percent => figures
                .percent()
                .map_or_else(String::new, |percent| format!("{percent:>3}%")),
            Field::Bytes => figures.total.map_or_else(
                || format_size(figures.done),
                |total| format_size_of(figures.done, total),
            ),
            Field::Files => match (figures.files, figures.total_files) {
                (None, _) => String::new(),
                (Some(files), None) => format_files(files),
                (Some(files), Some(total)) => format!("{files}/{}", format_files(total)),
            },
            Field::Rate => format!("{}/s", format_size(figures.rate as u64)),
            Field::Elapsed => format_clock(figures.elapsed),
            Field::Left => figures
                .time_left()
                .map_or_else(String::new, |left| format!("{} left", format_clock(left))),
            Field::Engine => self.engine.to_owned(),
        }
    }

    /// Draws the bar: `[=====>    ]`.
    fn bar(&self, width: usize) -> String {
        let inside = width - 2;
        let percent = usize::try_from(self.figures.percent().unwrap_or(0)).unwrap_or(0);
        let done = inside * percent / 100;
        let tip = if done < inside { ">" } else { "" };
        let rest = inside - done - tip.len();
        format!("[{}{tip}{}]", "=".repeat(done), " ".repeat(rest))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn half_done(files: Option<u64>) -> ProgressFigures {
        ProgressFigures {
            done: 1_808_000_000,
            total: Some(4 << 30),
            files,
            total_files: files.map(|_| 3000),
            rate: 164_626_432.0,
            elapsed: Duration::from_secs(11),
        }
    }

    fn fit(files: Option<u64>, name: &str, is_one_of_several: bool, width: usize) -> String {
        ProgressLine {
            figures: &half_done(files),
            name,
            longest_name: display_width(name),
            is_one_of_several,
            engine: "",
        }
        .fit(width)
    }

    #[test]
    fn what_matters_least_is_left_out_first() {
        for (width, want) in [
            (19, " 42% 157 MiB/s"),
            (39, " 42% 1.68/4.00 GiB 157 MiB/s 0:15 left"),
            (
                79,
                "dump   42%  [=========>            ]  1.68/4.00 GiB  157 MiB/s  0:11  0:15 left",
            ),
        ] {
            assert_eq!(fit(None, "dump", false, width), want, "{width}");
        }
        let run =
            " 42%  [=====>      ]  1.68/4.00 GiB  1234/3000 files  157 MiB/s  0:11  0:15 left";
        assert_eq!(fit(Some(1234), "", false, 80), run);
        // Of several files the name comes first, and then how far the file is.
        assert_eq!(fit(None, "r.gz", true, 19), "r.gz  42%");
        assert_eq!(fit(None, "r.gz", true, 23), "r.gz  42% 1.68/4.00 GiB");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_room(
            (done, total) in (any::<u64>(), any::<Option<u64>>()),
            files in any::<Option<u64>>(),
            rate in 0_f64..1e18,
            (name, is_one_of_several) in ("\\PC{0,60}", any::<bool>()),
            width in 1_usize..300,
        ) {
            let figures = ProgressFigures {
                done, total, files, total_files: files, rate, elapsed: Duration::from_secs(done >> 30),
            };
            let longest_name = display_width(&name) + 3;
            let line = ProgressLine { figures: &figures, name: &name, longest_name, is_one_of_several, engine: "splice" };
            let line = line.fit(width);
            prop_assert!(display_width(&line) <= width, "{line:?} in {width}");
        }
    }
}
