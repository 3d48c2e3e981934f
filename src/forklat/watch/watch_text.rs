//! A snapshot as text for a terminal: the table of memory with its changes, the largest slab caches, and the probes.

use super::probe_watch::ProbeAnswers;
use super::snapshot::{MEMORY_ROWS, Snapshot};
use crate::forklat::export::grid::Unit;
use crate::forklat::export::table::{Heading, TextTable};
use crate::sys::local_time;

/// Delay of a snapshot from which on it is told, in seconds (0.1 s): nobody sees less.
const MIN_SHOWN_DELAY: f64 = 0.1;

/// Returns the lines of a snapshot. `slabs_missing` says why the caches cannot be read, if they cannot.
pub(super) fn lines(snapshot: &Snapshot, slabs_missing: Option<&str>) -> Vec<String> {
    let time = local_time::time_of_day(snapshot.time);
    let time = time.split('.').next().unwrap_or_default();
    let mut head = format!("{time}  after {} s", snapshot.seconds.round());
    if snapshot.late >= MIN_SHOWN_DELAY {
        let late = Unit::Seconds.show(snapshot.late);
        head.push_str(&format!(", {late} late: forklat itself could not run"));
    }
    if snapshot.lost > 0 {
        let lost = snapshot.lost;
        head.push_str(&format!(", {lost} lines of the log lost"));
    }
    let mut lines = vec![head];
    lines.extend(memory_table(snapshot).text().lines().map(str::to_owned));
    lines.extend(slabs_missing.map(|why| format!("  slab caches: {why}")));
    if !snapshot.probes.is_empty() {
        let table = probe_table(&snapshot.probes).text();
        lines.extend(table.lines().map(str::to_owned));
    }
    lines
}

fn memory_table(snapshot: &Snapshot) -> TextTable {
    let shown = MEMORY_ROWS.iter().filter_map(|row| {
        let now = row.bytes(&snapshot.memory)?;
        let change = |since| row.bytes(since).map(|before| difference(now, before));
        Some(vec![
            row.label.to_owned(),
            bytes(now),
            change(&snapshot.before).unwrap_or_default(),
            change(&snapshot.first).unwrap_or_default(),
        ])
    });
    let mut rows: Vec<Vec<String>> = shown.collect();
    rows.extend(snapshot.caches.iter().map(|cache| {
        vec![
            format!("  {}", cache.name),
            bytes(cache.bytes),
            String::new(),
            signed(cache.growth),
        ]
    }));
    let mut header = vec![Heading::words("memory")];
    header.extend(["now", "change", "since start"].map(Heading::number));
    TextTable { header, rows }
}

fn probe_table(probes: &[ProbeAnswers]) -> TextTable {
    let time =
        |latency: Option<f64>| latency.map_or_else(|| "-".into(), |us| Unit::Microseconds.show(us));
    let rows = probes.iter().map(|probe| {
        let state = match (&probe.ended, probe.overdue) {
            (Some(why), _) => format!("ended: {why}"),
            (None, Some(seconds)) => format!("no answer for {}", Unit::Seconds.show(seconds)),
            (None, None) => String::new(),
        };
        vec![probe.name.clone(), time(probe.last), time(probe.max), state]
    });
    let mut header = vec![Heading::words("probe")];
    header.extend(["last", "longest"].map(Heading::number));
    header.push(Heading::words(""));
    TextTable {
        header,
        rows: rows.collect(),
    }
}

fn bytes(number: u64) -> String {
    Unit::Bytes.show(number as f64)
}

fn difference(now: u64, before: u64) -> String {
    signed(now.cast_signed().saturating_sub(before.cast_signed()))
}

/// Formats a change of a size. One of 0 is shown as nothing.
fn signed(change: i64) -> String {
    match change {
        0 => String::new(),
        1.. => format!("+{}", bytes(change.unsigned_abs())),
        _ => format!("-{}", bytes(change.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeAnswers, probe_table, signed};

    #[test]
    fn changes_have_a_sign() {
        let shown = [0, 2048, -(3 << 20)].map(signed);
        assert_eq!(shown, ["", "+2.00 KiB", "-3.00 MiB"]);
    }

    #[test]
    fn a_probe_that_is_silent_or_has_ended_says_so() {
        let probe = |name: &str| ProbeAnswers {
            name: name.into(),
            last: Some(1500.0),
            ..ProbeAnswers::default()
        };
        let silent = ProbeAnswers {
            overdue: Some(4.2),
            ..probe("fsync")
        };
        let ended = ProbeAnswers {
            ended: Some("fork: was killed by signal 9".into()),
            ..probe("fork")
        };
        let text = probe_table(&[probe("write"), silent, ended]).text();
        let words: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            words[1..],
            [
                "write 1.50 ms -",
                "fsync 1.50 ms - no answer for 4.20 s",
                "fork 1.50 ms - ended: fork: was killed by signal 9"
            ]
        );
    }
}
