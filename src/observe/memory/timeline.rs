//! The readings of one span of time as plain data for JSON, and their extremes for a table.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{History, Metric, MetricKind, Reading, SlabReading};

use crate::observe::error::ObserveError;
use crate::sys::clock::MonotonicNs;

const MICROS_PER_SECOND: f64 = 1e6;

/// Number of slab caches that are listed.
const MAX_LISTED_CACHES: usize = 5;

/// Tolerance at the end of a span: a reading of the slab caches that was requested then comes with the next
/// reading or the one after it.
const SLAB_GRACE: Duration = Duration::from_millis(200);

/// The window of the worst second, less half of the time between two readings, which are never exactly a second apart.
const WORST_WINDOW_SECONDS: f64 = 0.95;

/// A span of time. It begins with the last reading before it, so that adjacent spans miss no event and count none
/// twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timeline {
    /// When the span began, in seconds since the epoch.
    pub start: f64,
    /// When each reading was made, in seconds since `start`; the first may be negative.
    pub seconds: Vec<f64>,
    /// The greatest delay of a reading in seconds. A sampler that was itself delayed is a result, too.
    pub late: f64,
    /// Values by the kernel's names: bytes for gauges, events since boot for counters; `None` if this kernel does not
    /// report them.
    pub series: BTreeMap<String, Vec<Option<u64>>>,
    /// Pressure stall information of the span.
    pub pressure: PressureSeries,
    /// The slab caches that grew most.
    pub slabs: SlabGrowth,
}

/// Pressure stall information of the span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PressureSeries {
    /// Whether this kernel has PSI.
    pub supported: bool,
    /// The reason why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The series of `cpu`, `memory` and `io`.
    #[serde(flatten)]
    pub resources: BTreeMap<String, StallSeries>,
}

/// Seconds stalled since the first reading of the span; `None` if the kernel does not report it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StallSeries {
    /// Seconds in which at least one task waited.
    pub some: Vec<Option<f64>>,
    /// Seconds in which all tasks that were not idle waited. It has no meaning for `cpu`: absent before Linux 5.13, 0
    /// since.
    pub full: Vec<Option<f64>>,
}

/// The growth of slab caches in a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SlabGrowth {
    /// Why not all caches could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The caches that grew most, the greatest growth first.
    pub grown: Vec<CacheGrowth>,
}

/// The growth of one slab cache, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheGrowth {
    /// The kernel's name of the cache.
    pub name: String,
    /// Its size when the span began.
    pub before: u64,
    /// Its greatest size in the span.
    pub peak: u64,
    /// Difference of `peak` and `before`.
    pub growth: u64,
}

/// The values of a timeline for a table, in the order of [`Metric`]. Metrics that the kernel does not report are left
/// out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimelineSummary {
    /// Ranges of the metrics that are amounts.
    pub gauges: Vec<(Metric, GaugeRange)>,
    /// Number of events of each counter.
    pub counters: Vec<(Metric, u64)>,
    /// Shares of time in which tasks were stalled.
    pub stalls: Vec<(Metric, StallPercent)>,
}

/// The range of a gauge in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeRange {
    /// The value when the span began.
    pub first: u64,
    /// The smallest value in the span.
    pub min: u64,
    /// The greatest value in the span.
    pub max: u64,
}

/// Share of the time in which tasks were stalled, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StallPercent {
    /// Share of the whole span in percent.
    pub percent: f64,
    /// Share of its worst second in percent; `None` for a shorter span.
    pub worst: Option<f64>,
}

impl Timeline {
    /// Returns the span from `from` to `to`, both in the past. `epoch` is the
    /// time of day at which that clock was zero, since 1970.
    #[must_use]
    pub fn between(history: &History, from: MonotonicNs, to: MonotonicNs, epoch: Duration) -> Self {
        let readings = readings_in_span(&history.readings, |reading| reading.at, from, to);
        let column = |field: Metric| readings.iter().map(move |reading| reading.get(field));
        Self {
            start: (epoch + Duration::from_nanos(from.as_nanos())).as_secs_f64(),
            seconds: readings.iter().map(|r| seconds(from, r.at)).collect(),
            late: readings
                .iter()
                .map(|r| r.delay)
                .max()
                .unwrap_or_default()
                .as_secs_f64(),
            series: Metric::ALL
                .into_iter()
                .filter(|field| field.kind() != MetricKind::Stall)
                .map(|field| (field.name().to_owned(), column(field).collect()))
                .collect(),
            pressure: PressureSeries::of(&history.pressure, readings),
            slabs: SlabGrowth::between(history, from, to),
        }
    }

    /// Returns the values for a table.
    #[must_use]
    pub fn summarize(&self) -> TimelineSummary {
        let mut extremes = TimelineSummary::default();
        for field in Metric::ALL {
            match field.kind() {
                MetricKind::Gauge => extremes.gauges.extend(Some(field).zip(self.range(field))),
                MetricKind::Counter => extremes
                    .counters
                    .extend(Some(field).zip(self.increase(field))),
                MetricKind::Stall => extremes.stalls.extend(Some(field).zip(self.stalled(field))),
            }
        }
        extremes
    }

    fn known_values(&self, field: Metric) -> impl DoubleEndedIterator<Item = u64> + Clone {
        self.series
            .get(field.name())
            .into_iter()
            .flatten()
            .copied()
            .flatten()
    }

    fn range(&self, field: Metric) -> Option<GaugeRange> {
        let known = self.known_values(field);
        Some(GaugeRange {
            first: known.clone().next()?,
            min: known.clone().min()?,
            max: known.max()?,
        })
    }

    fn increase(&self, field: Metric) -> Option<u64> {
        let mut known = self.known_values(field);
        let first = known.next()?;
        // A single reading contains no change.
        Some(known.next_back()?.saturating_sub(first))
    }

    fn stalled(&self, field: Metric) -> Option<StallPercent> {
        let points: Vec<(f64, f64)> = self
            .seconds
            .iter()
            .zip(self.pressure.series(field)?)
            .filter_map(|(at, stalled)| Some((*at, (*stalled)?)))
            .collect();
        let percent = stall_percent(*points.first()?, *points.last()?)?;
        let mut end = 0;
        let windows = points.iter().filter_map(|start| {
            while points.get(end)?.0 - start.0 < WORST_WINDOW_SECONDS {
                end += 1;
            }
            stall_percent(*start, points[end])
        });
        Some(StallPercent {
            percent,
            worst: windows.max_by(f64::total_cmp),
        })
    }
}

/// Returns the percentage of the time between two points. The clock is read a little before the stalls are, hence the
/// bound.
fn stall_percent(a: (f64, f64), b: (f64, f64)) -> Option<f64> {
    (b.0 > a.0).then(|| ((b.1 - a.1) / (b.0 - a.0) * 100.0).clamp(0.0, 100.0))
}

impl PressureSeries {
    fn of(supported: &Result<(), ObserveError>, readings: &[Reading]) -> Self {
        let mut resources = BTreeMap::new();
        if supported.is_ok() {
            for field in Metric::ALL {
                if let Some((resource, kind)) = resource_and_kind(field) {
                    let stalls: &mut StallSeries =
                        resources.entry(resource.to_owned()).or_default();
                    *stalls.kind_mut(kind) = stalled_since_first(readings, field);
                }
            }
        }
        Self {
            supported: supported.is_ok(),
            why: supported.as_ref().err().map(ToString::to_string),
            resources,
        }
    }

    fn series(&self, field: Metric) -> Option<&[Option<f64>]> {
        let (resource, kind) = resource_and_kind(field)?;
        let stalls = self.resources.get(resource)?;
        Some(if kind == "some" {
            &stalls.some
        } else {
            &stalls.full
        })
    }
}

impl StallSeries {
    fn kind_mut(&mut self, kind: &str) -> &mut Vec<Option<f64>> {
        if kind == "some" {
            &mut self.some
        } else {
            &mut self.full
        }
    }
}

/// Returns `cpu` and `some` for [`Metric::CpuSome`], and likewise for the other stalls.
fn resource_and_kind(field: Metric) -> Option<(&'static str, &'static str)> {
    (field.kind() == MetricKind::Stall).then(|| field.name().split_once(' '))?
}

fn stalled_since_first(readings: &[Reading], field: Metric) -> Vec<Option<f64>> {
    let first = readings.iter().find_map(|reading| reading.get(field));
    let since = |total: u64| total.saturating_sub(first.unwrap_or(0)) as f64 / MICROS_PER_SECOND;
    readings
        .iter()
        .map(|reading| reading.get(field).map(since))
        .collect()
}

impl SlabGrowth {
    fn between(history: &History, from: MonotonicNs, to: MonotonicNs) -> Self {
        let slabs = match &history.slabs {
            Ok(slabs) => slabs,
            Err(why) => {
                return Self {
                    why: Some(why.to_string()),
                    grown: Vec::new(),
                };
            }
        };
        let readings = readings_in_span(
            &slabs.readings,
            |reading| reading.at,
            from,
            to.after(SLAB_GRACE),
        );
        let mut grown: Vec<CacheGrowth> = slabs
            .names
            .iter()
            .enumerate()
            .filter_map(|(place, name)| cache_growth(name, place, readings))
            .collect();
        grown.sort_by(|a, b| b.growth.cmp(&a.growth).then_with(|| a.name.cmp(&b.name)));
        grown.truncate(MAX_LISTED_CACHES);
        let why = match (readings.len(), slabs.untracked) {
            (0 | 1, _) => Some("the slab caches were not read twice in this time".into()),
            (_, 0) => None,
            (_, beyond) => Some(format!("{beyond} slab caches were not followed")),
        };
        Self { why, grown }
    }
}

fn cache_growth(name: &str, place: usize, readings: &[SlabReading]) -> Option<CacheGrowth> {
    let bytes = |reading: &SlabReading| reading.bytes.get(place).copied().unwrap_or(0);
    let before = bytes(readings.first()?);
    let peak = readings.iter().map(bytes).max()?;
    (peak > before).then(|| CacheGrowth {
        name: name.to_owned(),
        before,
        peak,
        growth: peak - before,
    })
}

/// Returns the last reading not after `from`, and the later ones not after `to`.
fn readings_in_span<T>(
    readings: &[T],
    at: impl Fn(&T) -> MonotonicNs,
    from: MonotonicNs,
    to: MonotonicNs,
) -> &[T] {
    let end = readings.partition_point(|reading| at(reading) <= to);
    let begin = readings
        .partition_point(|reading| at(reading) <= from)
        .saturating_sub(1);
    &readings[begin.min(end)..end]
}

/// Returns the seconds between two times, negative if `to` is earlier.
fn seconds(from: MonotonicNs, to: MonotonicNs) -> f64 {
    to.since(from).as_secs_f64() - from.since(to).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::{METRIC_COUNT, SlabHistory};
    use super::*;
    use crate::observe::error::unavailable;

    const MS: u64 = 1_000_000;

    fn moment(nanoseconds: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(nanoseconds)
    }

    /// Makes a reading for every 100 ms from 0 on: MemFree falls, Dirty is missing, allocstall counts, io stalls fully
    /// from 1 to 2 s.
    fn history(count: u64) -> History {
        let reading = |n: u64| {
            let mut values = [None; METRIC_COUNT];
            values[Metric::MemFree as usize] = Some(1000 - n);
            values[Metric::AllocStall as usize] = Some(50 + n);
            values[Metric::IoSome as usize] = Some(7 + n.clamp(10, 20) * 100_000);
            values[Metric::IoFull as usize] = Some(7);
            Reading {
                at: moment(n * 100 * MS),
                delay: Duration::from_nanos(n),
                values,
            }
        };
        History {
            readings: (0..count).map(reading).collect(),
            pressure: Ok(()),
            slabs: Err(unavailable(
                "cannot read '/proc/slabinfo': Permission denied",
            )),
        }
    }

    fn between(history: &History, from: u64, to: u64) -> Timeline {
        Timeline::between(
            history,
            moment(from),
            moment(to),
            Duration::from_secs(1_795_262_400),
        )
    }

    fn find<T: Copy>(list: &[(Metric, T)], field: Metric) -> Option<T> {
        list.iter()
            .find(|(other, _)| *other == field)
            .map(|(_, value)| *value)
    }

    #[test]
    fn a_span_begins_with_the_reading_before_it() {
        let timeline = between(&history(40), 950 * MS, 1250 * MS);
        assert_eq!(timeline.start, 1_795_262_400.95);
        assert_eq!(timeline.seconds, [-0.05, 0.05, 0.15, 0.25]);
        assert_eq!(
            timeline.series["MemFree"],
            [Some(991), Some(990), Some(989), Some(988)]
        );
        assert_eq!(timeline.series["Dirty"], [None; 4]);
        assert_eq!(timeline.late, 12e-9);
        // Adjacent spans share the reading at their border.
        let next = between(&history(40), 1250 * MS, 1500 * MS);
        assert_eq!(next.series["MemFree"][0], Some(988));
        assert_eq!(next.seconds.len(), 4);
    }

    #[test]
    fn extremes_are_of_the_span() {
        let extremes = between(&history(40), 0, 4000 * MS).summarize();
        let range = GaugeRange {
            first: 1000,
            min: 961,
            max: 1000,
        };
        assert_eq!(find(&extremes.gauges, Metric::MemFree), Some(range));
        assert_eq!(find(&extremes.gauges, Metric::Dirty), None);
        assert_eq!(extremes.counters, [(Metric::AllocStall, 39)]);
        let io = find(&extremes.stalls, Metric::IoSome).unwrap();
        assert!((io.percent - 100.0 / 3.9).abs() < 1e-9, "{io:?}");
        assert!((io.worst.unwrap() - 100.0).abs() < 1e-6, "{io:?}");
        let full = StallPercent {
            percent: 0.0,
            worst: Some(0.0),
        };
        assert_eq!(find(&extremes.stalls, Metric::IoFull), Some(full));
        assert_eq!(find(&extremes.stalls, Metric::CpuSome), None);
    }

    #[test]
    fn a_span_under_a_second_has_no_worst_second() {
        let extremes = between(&history(40), 1200 * MS, 1700 * MS).summarize();
        let io = find(&extremes.stalls, Metric::IoSome).unwrap();
        assert_eq!(io.worst, None);
        assert!((io.percent - 100.0).abs() < 1e-6);
    }

    #[test]
    fn a_span_without_readings_says_nothing() {
        let none = TimelineSummary::default();
        assert_eq!(between(&history(0), 0, 10 * MS).summarize(), none);
        let one = between(&history(1), 0, 10 * MS).summarize();
        assert!(one.counters.is_empty() && one.stalls.is_empty());
    }

    #[test]
    fn json_says_what_is_not_supported() {
        let mut history = history(3);
        history.pressure = Err(unavailable("no PSI"));
        let timeline = between(&history, 0, 300 * MS);
        let json = serde_json::to_value(&timeline).unwrap();
        assert_eq!(
            json["pressure"],
            serde_json::json!({"supported": false, "why": "no PSI"})
        );
        assert!(
            json["slabs"]["why"]
                .as_str()
                .unwrap()
                .contains("Permission denied")
        );
        assert!(timeline.summarize().stalls.is_empty());
    }

    #[test]
    fn json_goes_there_and_back() {
        let timeline = between(&history(15), 0, 1400 * MS);
        let json = serde_json::to_value(&timeline).unwrap();
        assert_eq!(json["pressure"]["supported"], true);
        assert_eq!(json["pressure"]["io"]["some"][14], 0.4);
        assert_eq!(json["pressure"]["cpu"]["full"][14], serde_json::Value::Null);
        let back: Timeline = serde_json::from_value(json).unwrap();
        assert_eq!(back.summarize(), timeline.summarize());
        assert_eq!(back.pressure, timeline.pressure);
    }

    #[test]
    fn the_five_caches_that_grew_most_are_told() {
        let readings = [
            [5; 7].to_vec(),
            vec![6, 7, 8, 9, 10, 11, 12],
            vec![6, 7, 8, 99, 5, 5, 5, 40],
        ];
        let at = [0, 900 * MS, 2100 * MS];
        let readings = at.into_iter().zip(readings).map(|(ns, bytes)| SlabReading {
            at: moment(ns),
            bytes,
        });
        let mut history = history(0);
        history.slabs = Ok(SlabHistory {
            names: ('a'..='h').map(String::from).collect(),
            readings: readings.collect(),
            untracked: 0,
        });
        let slabs = between(&history, 10 * MS, 2000 * MS).slabs;
        assert_eq!(slabs.why, None);
        let told: Vec<_> = slabs
            .grown
            .iter()
            .map(|g| (&*g.name, g.before, g.peak, g.growth))
            .collect();
        // d and h come from the reading that was requested at the end, which was made a little later.
        let want = [
            ("d", 5, 99, 94),
            ("h", 0, 40, 40),
            ("g", 5, 12, 7),
            ("f", 5, 11, 6),
            ("e", 5, 10, 5),
        ];
        assert_eq!(told, want);
        let early = between(&history, 0, 100 * MS).slabs;
        assert!(early.grown.is_empty() && early.why.is_some());
    }
}
