//! The story as a table in Markdown: the worst of each run.

use std::fmt::Write as _;

use crate::kernel::slow_disk_scenario::BystanderWaits;
use crate::{Story, ToolRuns};

/// A figure of a run, where there is one.
type Metric = fn(&BystanderWaits) -> Option<f64>;

/// LoggedOperation is shown of a run.
const COLUMNS: [(&str, Metric); 5] = [
    ("exec from the slow disk, ms", |felt| felt.exec_from_disk),
    ("exec from memory, ms", |felt| felt.exec_from_memory),
    ("write, ms", |felt| felt.write),
    ("fsync, ms", |felt| felt.fsync),
    ("copy, s", |felt| felt.wall),
];

/// The whole of it.
pub(crate) fn markdown(story: &Story) -> String {
    let scene = &story.scene;
    let mut text = format!(
        "Guest: {} MiB, {} MiB of them available before the observers start (40 MiB), a dump of {} MiB; ext4 on a disk of {:.0} MB/s; \
         vm.dirty_ratio {}, vm.dirty_background_ratio {}. Host: {}. The worst of each run.\n\n| kernel | tool |",
        scene.memory_mib,
        scene.slack_mib,
        scene.dump_mib,
        scene.disk_rate as f64 / 1e6,
        scene.dirty_ratio,
        scene.background_ratio,
        story.host
    );
    for (name, _) in COLUMNS {
        let _ = write!(text, " {name} |");
    }
    text += " pages scanned | left in the cache, MiB |\n|---|---|";
    text += &"---:|".repeat(COLUMNS.len() + 2);
    text += "\n";
    for row in &story.rows {
        let _ = writeln!(text, "{}", line(row));
    }
    for row in &story.rows {
        for felt in row.runs.iter().filter(|felt| felt.killed > 0) {
            let (series, tool, killed) = (row.series, &row.tool, felt.killed);
            let _ = writeln!(
                text,
                "\n{tool} on {series}: the kernel ran out of memory and killed {killed} of the processes."
            );
        }
    }
    text
}

/// One tool on one kernel.
pub(crate) fn line(row: &ToolRuns) -> String {
    let mut text = format!("| {} | `{}` |", row.series, row.tool);
    for (_, of) in COLUMNS {
        let shown = |felt: &BystanderWaits| of(felt).map_or("-".into(), figure);
        let _ = write!(text, " {} |", each(row, shown));
    }
    let scanned = each(row, |felt| felt.scanned.to_string());
    let cached = each(row, |felt| {
        format!("{:.0}", felt.cached_kib as f64 / 1024.0)
    });
    let _ = write!(text, " {scanned} | {cached} |");
    text
}

fn each(row: &ToolRuns, shown: impl Fn(&BystanderWaits) -> String) -> String {
    row.runs.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// Three digits: a machine that is emulated gives no more.
fn figure(value: f64) -> String {
    if value < 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
