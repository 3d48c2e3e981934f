//! The answer of the tables in one sentence: what takes longer beside many processes than beside one, and what others wait
//! while all of them end.

use super::ScaleTable;
use super::scale_result::{CostTable, Series};
use crate::forklat::export::grid::Unit;

/// Growth from which on a cost counts as larger. With 200 measurements the medians of two runs differ by less than a half.
const GROWN: f64 = 2.0;

/// Returns the sentence, or `None` if there is no table or only one step.
pub(super) fn answer(tables: &[CostTable], kernel: Option<&str>) -> Option<String> {
    let steps = tables.iter().flat_map(|table| &table.series);
    let (first, last) = steps.filter_map(Series::ends).next()?;
    let is_storm = |table: &&CostTable| table.name == ScaleTable::Storm.name();
    let mut flat = Vec::new();
    let mut grown = Vec::new();
    for table in tables.iter().filter(|table| !is_storm(table)) {
        match most_grown(table) {
            Some((series, ratio)) if ratio >= GROWN => grown.push(growth(table, series, ratio)),
            Some(_) => flat.push(table.name.as_str()),
            None => {}
        }
    }
    let mut parts = Vec::new();
    if !flat.is_empty() {
        let names = list(&flat);
        let verb = if flat.len() == 1 { "takes" } else { "take" };
        parts.push(format!("{names} {verb} less than twice as long"));
    }
    parts.extend(grown);
    parts.extend(tables.iter().filter(is_storm).filter_map(storm));
    let kernel = kernel.unwrap_or("of unknown release");
    let parts = parts.join("; ");
    Some(format!(
        "On Linux {kernel}, with {last} idle processes instead of {first}: {parts}."
    ))
}

impl Series {
    /// Returns the smallest and the largest N, or `None` if there is only one.
    fn ends(&self) -> Option<(u32, u32)> {
        let (first, last) = (self.cells.first()?.n, self.cells.last()?.n);
        (first < last).then_some((first, last))
    }

    /// Returns how many times as long the median is at the last step as at the first.
    fn ratio(&self) -> Option<f64> {
        self.ends()?;
        let (first, last) = (self.cells.first()?.p50, self.cells.last()?.p50);
        (first > 0.0).then(|| last / first)
    }
}

fn most_grown(table: &CostTable) -> Option<(&Series, f64)> {
    let ratios = table.series.iter();
    let ratios = ratios.filter_map(|series| Some((series, series.ratio()?)));
    ratios.max_by(|a, b| a.1.total_cmp(&b.1))
}

fn growth(table: &CostTable, series: &Series, ratio: f64) -> String {
    let show = |time: Option<f64>| Unit::Microseconds.show(time.unwrap_or(0.0));
    let on = series.on.as_ref();
    let on = on.map_or_else(String::new, |on| format!(" in {}", on.display()));
    format!(
        "{} takes up to {ratio:.1} times as long ({}{on}: {} became {})",
        table.name,
        series.name,
        show(series.cells.first().map(|cell| cell.p50)),
        show(series.cells.last().map(|cell| cell.p50))
    )
}

/// Describes the largest storm: what others waited, and how long it took.
fn storm(table: &CostTable) -> Option<String> {
    let (end, probes) = table.series.split_last()?;
    let last = end.cells.last()?;
    let waits = probes.iter().filter_map(|series| {
        let longest = series.cells.last()?.max;
        Some(format!(
            "{} for {}",
            Unit::Microseconds.show(longest),
            series.name
        ))
    });
    let waits: Vec<String> = waits.collect();
    Some(format!(
        "while {} processes end at once, in {}, others wait up to {}",
        last.n,
        Unit::Microseconds.show(last.p50),
        list(&waits.iter().map(String::as_str).collect::<Vec<_>>())
    ))
}

/// Joins words as in a sentence: `a, b and c`.
fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{CostTable, Series, answer};
    use crate::forklat::scale::scale_result::CostCell;

    fn table(name: &str, series: &[(&str, f64, f64)]) -> CostTable {
        let cell = |n, p50| CostCell {
            n,
            count: 9,
            p50,
            p99: p50,
            max: 10.0 * p50,
        };
        let series = series.iter();
        CostTable {
            name: name.into(),
            title: String::new(),
            series: series
                .map(|(name, a, b)| Series::new(name, vec![cell(1, *a), cell(1000, *b)]))
                .collect(),
        }
    }

    #[test]
    fn what_grows_is_told_apart_from_what_does_not() {
        let tables = [
            table("fork", &[("start", 100.0, 150.0), ("stop", 50.0, 40.0)]),
            table("exec", &[("start", 700.0, 700.0)]),
            table(
                "storm",
                &[
                    ("fork", 90.0, 500.0),
                    ("wakeup", 5.0, 90.0),
                    ("end", 80.0, 34_000.0),
                ],
            ),
            table(
                "write-mapping",
                &[("store", 4.0, 4.0), ("store+msync", 12.0, 168.0)],
            ),
        ];
        let want = "On Linux 6.18, with 1000 idle processes instead of 1: fork and exec take less than twice as long; \
                    write-mapping takes up to 14.0 times as long (store+msync: 12.0 us became 168 us); \
                    while 1000 processes end at once, in 34.0 ms, others wait up to 5.00 ms for fork and 900 us for wakeup.";
        assert_eq!(answer(&tables, Some("6.18")).as_deref(), Some(want));
    }

    #[test]
    fn one_step_has_no_answer() {
        let mut one = table("fork", &[("start", 1.0, 1.0)]);
        one.series[0].cells.pop();
        assert_eq!(answer(&[one], None), None);
        assert_eq!(answer(&[], None), None);
    }
}
