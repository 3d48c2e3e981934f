//! The text of `--help` after the options: the probes, how latency is counted, the exit status, and the files. The man
//! pages say more (`man/sections`).

use crate::observe::probe::PROBE_SPECS;
use crate::report::units::format_milliseconds;

/// Explains how latency is counted. Every reader of a table needs it.
const LATENCY: &str = "\
Each prober is a process of its own, locked in memory, that wakes at moments fixed beforehand (CLOCK_MONOTONIC, absolute). \
Latency counts from the moment to the answer, so that a late answer hides no stall (no coordinated omission): the moments that \
passed meanwhile are asked together, once, and each waits from its own moment. Service time counts from the asking; it is in \
the exports and with -v.";

/// The exit status of the subcommands that run no other program.
const STATUS: &str = "\
Exit status: 125 when forklat itself failed; then no table is printed.";

/// Returns the list of probes, with how latency is counted.
#[must_use]
pub fn probes() -> String {
    let mut text = String::from("Probes:\n");
    for row in &PROBE_SPECS {
        let period = format_milliseconds(row.period);
        text.push_str(&format!(
            "  {:<6} {} (every {period})\n",
            row.name, row.description
        ));
    }
    text.push_str(&format!(
        "Unless --probe chooses, all of them. Those with a DIR ask the file system of --on, or else of the current directory; \
         `run` leaves them out where that lies in memory or cannot be written to, and says so.\n\n{LATENCY}"
    ));
    text
}

/// Returns the text that `forklat run --help` prints after the options.
#[must_use]
pub fn run() -> String {
    format!(
        "{}\n\n\
         The table goes to standard error when there is a COMMAND, which has standard output for itself, else to standard \
         output. SIGTERM, and an interrupt that does not come from a terminal, are passed on to COMMAND; with --attach and \
         --for they end the measurement, and what was measured is shown. With -v the forkers are first measured without the other \
         observers, to show what these cost. A prober that dies ends the measurement, not COMMAND.\n\n\
         Exit status: that of COMMAND (128 and the signal that killed it), 127 when it is not found, 126 when it cannot be \
         run, 125 when forklat itself failed; then no table is printed.",
        probes()
    )
}

/// Returns the text that `forklat compare --help` prints after the options.
#[must_use]
pub fn compare() -> String {
    format!(
        "Each run begins without the last copy, with next to nothing to write out, and with memory and disk as asked for. What is \
         measured goes on until fsync of the copy has come back: a tool that leaves it in the page cache has not spared the \
         machine from writing it. Then the copy is compared with its source, byte for byte, past the page cache. CPU time is \
         the tool's own; what kernel threads write back for it is on nobody's account. Cache growth is that of the whole machine: \
         on a full host others' pages make room, and it is less than what the tool left there. The tool `mmapcp` is the code of this very \
         build. Medians are over the runs that succeeded; latencies are those of all runs together.\n\n{}\n\n\
         What is changed for the time of a run (a limit, a sysctl, scratch directories) is written down first, in /run/forklat \
         (FORKLAT_STATE_DIR names another directory; other users: $XDG_RUNTIME_DIR/forklat or /tmp/forklat-UID), and undone on every way out; after SIGKILL, by the next \
         start of forklat. Memory that was filled is free as soon as forklat has gone.\n\n\
         --squeeze wants nothing special where there is no swap; --disk-limit and --sysctl want root, --disk-limit the block \
         controller, too: blkio of cgroup v1, or io of cgroup v2.\n\n\
         Exit status: 0, or 1 when a tool failed or made a copy that is not its source, 127 or 126 when a tool is not found or \
         cannot be run, 125 when forklat itself failed; then no table is printed.",
        probes()
    )
}

/// Returns the text that `forklat scale --help` prints after the options.
#[must_use]
pub fn scale() -> String {
    format!(
        "Tables: while N processes stand,\n  \
           1a  one more is forked from their parent, writes to its memory, and is killed and reaped\n  \
           1b  the same by fork and exec of this program\n  \
           2a  one more maps the file that all have mapped and reads each page (join), and unmaps it (leave)\n  \
           2b  that file is modified: a store through a mapping, the same and msync, a write, the same and fdatasync\n\
         Half of the measurements of each N are made on the way up, half on the way down. Below each table stands how its \
         medians grow, fitted as a power of N over all steps, and over the last: ~N^0 is flat, ~N^1 linear.\n\n{STATUS}"
    )
}

/// Returns the text that `forklat merge --help` prints after the options.
#[must_use]
pub fn merge() -> String {
    format!(
        "Histograms of the same subject, probe and CPU are added: percentiles are those of all values, not averages of \
         percentiles.\n\n{STATUS}"
    )
}
