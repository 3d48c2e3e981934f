//! `forklat merge`: adds up the histograms of several runs or hosts, as if they were one measurement.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::export::{hlog, json_report};
use super::model::{Distribution, ObserverCost, ProbeResult, Report, Subject};
use crate::forklat::error::{ForklatError, cannot, damaged};
use crate::observe::host_info::HostInfo;
use crate::observe::latency_histograms::{MAX_WORST_LATENCIES, new_histogram};
use crate::report::quote::quote;
use crate::report::units;

/// Reads JSON exports and interval logs, which it tells apart by their content, and adds up those with the same names.
///
/// # Errors
/// A file that cannot be read, is neither format, is of a newer version, truncated or damaged, or is given twice.
pub fn merge(files: &[PathBuf]) -> Result<Report, ForklatError> {
    refuse_twins(files)?;
    let mut merged = empty(files);
    let mut rounds = 0;
    for (number, file) in files.iter().enumerate() {
        let mut report = read(file)?;
        if number == 0 {
            merged.facts = report.facts;
        } else {
            let other = other_machine(&merged.facts, &report.facts, file);
            report.notes.extend(other);
        }
        let rounds_before = rounds;
        for mut subject in report.subjects {
            for run in &mut subject.runs {
                // The rounds of different files are different rounds.
                run.round += rounds_before;
                rounds = rounds.max(run.round);
            }
            add_subject(&mut merged, subject).map_err(|why| why.in_file(file))?;
        }
        for observer in report.observers {
            add_observer(&mut merged.observers, observer);
        }
        for note in report.notes {
            add_note_once(&mut merged.notes, note);
        }
    }
    Ok(merged)
}

fn empty(files: &[PathBuf]) -> Report {
    let words = ["forklat".into(), "merge".into()].into_iter();
    let names = files.iter().map(|file| file.to_string_lossy().into_owned());
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Report::new("merge", words.chain(names).collect(), date)
}

/// Refuses files that are given twice. Counting a file twice would make every rare stall look twice as certain.
fn refuse_twins(files: &[PathBuf]) -> Result<(), ForklatError> {
    let mut seen: Vec<PathBuf> = Vec::new();
    for file in files {
        // A file that does not exist is reported when it is read.
        let Ok(path) = file.canonicalize() else {
            continue;
        };
        if seen.contains(&path) {
            return Err(format!("{} is given twice", quote(file)).into());
        }
        seen.push(path);
    }
    Ok(())
}

fn read(file: &Path) -> Result<Report, ForklatError> {
    let bytes = fs::read(file).map_err(|e| cannot("read", file, e))?;
    let text = bytes.trim_ascii_start();
    let report = if text.starts_with(b"{") {
        json_report::parse(text)
    } else if hlog::is_log(text) {
        from_log(file, text)
    } else {
        Err(damaged(
            "is neither a JSON export of forklat nor an HdrHistogram log",
        ))
    };
    report.map_err(|why| why.in_file(file))
}

fn from_log(file: &Path, log: &[u8]) -> Result<Report, ForklatError> {
    let mut report = empty(&[]);
    if !hlog::is_ours(log) {
        report.notes.push(format!(
            "{} was not written by forklat: its values are assumed to be nanoseconds",
            quote(file)
        ));
    }
    for sum in hlog::parse(log)? {
        let probe = ProbeResult {
            name: sum.probe,
            cpu: None,
            period: None,
            latency: Distribution::of(&sum.histogram),
            service: Distribution::of(&new_histogram()),
            worst: Vec::new(),
        };
        let seconds = sum.length.as_secs_f64();
        let subjects = &mut report.subjects;
        match subjects.iter_mut().find(|s| s.name == sum.subject) {
            // The probes of a subject ran at the same time.
            Some(subject) => {
                subject.seconds = subject.seconds.max(seconds);
                subject.probes.push(probe);
            }
            None => subjects.push(Subject {
                name: sum.subject,
                seconds,
                probes: vec![probe],
                ..Subject::default()
            }),
        }
    }
    Ok(report)
}

fn add_subject(merged: &mut Report, subject: Subject) -> Result<(), ForklatError> {
    let Some(known) = merged.subjects.iter_mut().find(|s| s.name == subject.name) else {
        merged.subjects.push(subject);
        return Ok(());
    };
    known.seconds += subject.seconds;
    known.copies.extend(subject.copies);
    known.timelines.extend(subject.timelines);
    known.runs.extend(subject.runs);
    known.late.extend(subject.late);
    match (&mut known.why, subject.why) {
        (Some(known), Some(other)) => known.merge(other),
        (None, Some(other)) => known.why = Some(other),
        (_, None) => {}
    }
    for probe in subject.probes {
        let same = |p: &&mut ProbeResult| p.name == probe.name && p.cpu == probe.cpu;
        let Some(same) = known.probes.iter_mut().find(same) else {
            known.probes.push(probe);
            continue;
        };
        if same.period.zip(probe.period).is_some_and(|(a, b)| a != b) {
            let (name, probe) = (&known.name, &probe.name);
            let note = format!(
                "{name}: {probe} was measured with different periods: a file with a shorter period counts for more"
            );
            add_note_once(&mut merged.notes, note);
        }
        add_probe(same, probe)?;
    }
    let differ = !known.command.is_empty() && !subject.command.is_empty();
    if differ && known.command != subject.command {
        let note = format!(
            "{} was measured with different commands: {} and {}",
            known.name,
            shell_words::join(&known.command),
            shell_words::join(&subject.command)
        );
        add_note_once(&mut merged.notes, note);
    }
    Ok(())
}

fn add_probe(known: &mut ProbeResult, probe: ProbeResult) -> Result<(), ForklatError> {
    known.period = known.period.or(probe.period);
    known.latency = sum(&known.latency, &probe.latency)?;
    known.service = sum(&known.service, &probe.service)?;
    known.worst.extend(probe.worst);
    known.worst.sort_by(|a, b| b.latency.total_cmp(&a.latency));
    known.worst.truncate(MAX_WORST_LATENCIES);
    known.use_exact_max();
    Ok(())
}

fn sum(one: &Distribution, other: &Distribution) -> Result<Distribution, ForklatError> {
    let mut histogram = one.read()?;
    histogram += other.read()?;
    Ok(Distribution::of(&histogram))
}

fn add_observer(observers: &mut Vec<ObserverCost>, observer: ObserverCost) {
    match observers.iter_mut().find(|o| o.name == observer.name) {
        Some(known) => {
            known.seconds += observer.seconds;
            known.cpu += observer.cpu;
            known.max_rss = known.max_rss.max(observer.max_rss);
        }
        None => observers.push(observer),
    }
}

/// Returns a note on how the machine of `file` differs from that of the first file, whose facts are kept.
fn other_machine(first: &HostInfo, other: &HostInfo, file: &Path) -> Option<String> {
    // An interval log has no facts about the machine.
    if *first == HostInfo::default() || *other == HostInfo::default() {
        return None;
    }
    let [was, is] = [first, other].map(identity);
    let differ: Vec<String> = was
        .into_iter()
        .zip(is)
        .filter(|(was, is)| was != is)
        .map(|((what, was), (_, is))| format!("{what} {is}, not {was}"))
        .collect();
    (!differ.is_empty()).then(|| {
        format!(
            "{} was measured on another machine than the first file: {}",
            quote(file),
            differ.join("; ")
        )
    })
}

/// Returns the facts that distinguish one machine from another.
fn identity(facts: &HostInfo) -> [(&'static str, String); 4] {
    let or_unknown = |fact: Option<String>| fact.unwrap_or_else(|| "unknown".into());
    [
        ("kernel", or_unknown(facts.kernel.clone())),
        ("CPUs", or_unknown(facts.cpus.map(|n| n.to_string()))),
        ("CPU", or_unknown(facts.cpu_model.clone())),
        ("memory", or_unknown(facts.memory.map(units::format_bytes))),
    ]
}

/// Adds a note unless it is there already: ten hosts would give the same note ten times.
fn add_note_once(notes: &mut Vec<String>, note: String) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}
