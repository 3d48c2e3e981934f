//! The text of `--help` after the options: the probes, how latency is counted, the exit status, and the files. The man
//! pages say more (`man/sections`).

use crate::observe::probe::PROBE_SPECS;
use crate::report::units::format_milliseconds;

/// Explains how latency is counted. Every reader of a table needs it.
const LATENCY: &str = "\
Each prober is a process of its own that is locked in memory. It wakes once in each period, at a random moment that is fixed beforehand (CLOCK_MONOTONIC, \
absolute). Latency counts from that moment until the request is done, so that a stall counts for its whole length (no \
coordinated omission). The moments that pass during a slow request are served together by the next request, and the latency of \
each counts from its own moment. Service time counts from the start of the request; it is in the exports and, with -v, in the \
table.";

/// Explains the two disk limits.
const DISK_LIMIT: &str = "\
--disk-limit makes a disk for the run: an ext4 with a journal on a loop device with direct I/O and the scheduler mq-deadline. \
That device lies on a second one, which the block controller holds to RATE, and that on an image in the directory of --on. So \
requests wait below the scheduler, as for a slow disk: writeback throttling, the scheduler and nr_requests see a busy disk, and \
no other program is limited. --disk-limit-above limits the disk of the directory itself. There requests wait above the \
scheduler, in a queue without a bound, which no disk has; with cgroup v1 all programs are limited, with v2 those that forklat \
starts. Both need the controller blkio of cgroup v1 or io of cgroup v2; --disk-limit also needs mkfs.ext4 and loop devices. The \
notes below the table say which limit was used.";

/// The exit status of the subcommands that run no other program.
const STATUS: &str = "\
Exit status: 0 if all went well, 125 if forklat itself failed; then no table is printed.";

/// Returns the list of probes, with how latency is counted.
#[must_use]
pub fn probes() -> String {
    let mut text = String::from("Probes:\n");
    for row in &PROBE_SPECS {
        let period = format_milliseconds(row.period);
        text.push_str(&format!(
            "  {:<9} {} (every {period})\n",
            row.name, row.description
        ));
    }
    text.push_str(&format!(
        "All of them but the last two run unless --probe selects some. Those that use DIR run in the directory of --on, or else in the current \
         directory; `run` leaves them out, with a note, if that is in memory or not writable.\n\n{LATENCY}"
    ));
    text
}

/// Returns the text that `forklat run --help` prints after the options.
#[must_use]
pub fn run() -> String {
    format!(
        "{}\n\n\
         If there is a COMMAND, standard output belongs to it and the table goes to standard error; otherwise the table goes to \
         standard output. SIGTERM, and SIGINT that does not come from a terminal, are passed on to COMMAND. With --attach and \
         --for they end the measurement, and the result so far is shown. With -v, the first kind of prober is first measured \
         without the other observers, to show what these cost. A prober that dies ends the measurement, but not COMMAND.\n\n\
         {DISK_LIMIT} In the arguments of COMMAND, {{disk}} is replaced by the directory on the limited disk, also inside of the \
         words of a shell; without a COMMAND the directory is printed. COMMAND is killed if forklat is.\n\n\
         Exit status: that of COMMAND, or 128 plus the number of the signal that killed it; 127 if COMMAND is not found; 126 if \
         it cannot be run; 125 if forklat itself failed, and then no table is printed.",
        probes()
    )
}

/// Returns the text that `forklat compare --help` prints after the options.
#[must_use]
pub fn compare() -> String {
    format!(
        "Each run starts without the previous copy, with almost no data to write back, and with the requested memory and disk rate. \
         A run has three spans: until the tool exits, whose latencies are the tool's; until an fsync of the copy by forklat has \
         returned, which is shown apart; and 0.3 s after that. Then the copy is compared with its source, byte by byte, past the page cache. \
         CPU time is that of the tool alone; it does not include what kernel threads write back for it. Cache growth is that of the \
         whole machine: on a full host pages of other programs are dropped, so it is less than what the tool left in the cache. The \
         tool `mmapcp` is the code of this build of forklat. Figures are medians of the runs that succeeded; ratios are medians of the \
         ratios of each round, with ~ where no difference is shown (a permutation test within rounds, corrected for the number of rows).\n\n{}\n\n\
         Changes of the machine for a run (a limit, a sysctl, scratch directories) are first written to a journal in /run/forklat \
         (for users other than root in $XDG_RUNTIME_DIR/forklat or /tmp/forklat-UID; FORKLAT_STATE_DIR sets another directory). They \
         are undone when forklat ends, or after SIGKILL by the next start of forklat. Memory that --squeeze filled is free as soon as \
         forklat has ended.\n\n\
         --squeeze needs no privileges if there is no swap. The disk limits and --sysctl need root.\n\n\
         {DISK_LIMIT}\n\n\
         Exit status: 0 if all copies are equal to the source; 1 if a tool failed or made a different copy; 127 if a tool is not \
         found; 126 if it cannot be run; 125 if forklat itself failed, and then no table is printed.",
        probes()
    )
}

/// Returns the text that `forklat scale --help` prints after the options.
#[must_use]
pub fn scale() -> String {
    format!(
        "Tables (beside N idle processes):\n  \
           fork           one more process is forked from their parent, writes to its memory, and is killed and reaped\n  \
           exec           the same, started by fork and exec of this program\n  \
           copy-on-write  one more process is forked from a parent with 8 MiB of memory that N others share, and writes to each page of it or to none, \
         in pages of 4 KiB and in huge pages\n  \
           storm          all N are killed at once, a twentieth of --repeat times: what a fork every 2 ms and a wake-up every 1 ms on each CPU \
         wait meanwhile (20 ms at least), and how long the end takes\n  \
           join-mapping   one more process maps the file that all have mapped and reads each page (join), and unmaps it (leave)\n  \
           write-mapping  that file is modified by a store through a mapping, by a store and msync, by a write, and by a write and fdatasync\n\
         Half of the measurements of each N are made while N grows, and half while it shrinks. The lines below each table say how \
         the medians grow, fitted as a power of N, over all steps and over the last one: ~N^0 is flat, ~N^1 is linear.\n\n{STATUS}"
    )
}

/// Returns the text that `forklat watch --help` prints after the options.
#[must_use]
pub fn watch() -> String {
    format!(
        "Each snapshot shows where memory is: used by processes, in shared memory, in the page cache (and how much of that is dirty), \
         in page tables, kernel stacks and other memory of the kernel, unaccounted, and in slabs, with the three largest caches and the one \
         that grew most. Caches are read when all slabs together have changed by 1 MiB, and every 10 s; that needs root. Behind it are the \
         change since the snapshot before and since the start. Then come the last and the longest latency of each probe in the interval; \
         here a probe runs ten times less often than in the list below, unless --period says otherwise.\n\n\
         After the first snapshot forklat starts no process but those that the probes fork and exec require, and its memory is locked. Without probes it \
         takes no other memory either. A probe that dies is shown as such. The log is written by a thread: where its disk does not answer, lines \
         are lost and counted, and the watch goes on.\n\n{}\n\n\
         Exit status: 0 if it was ended by --for or by a signal (SIGINT, SIGTERM, SIGHUP); 125 if forklat itself failed or lines of the log are missing.",
        probes()
    )
}

/// Returns the text that `forklat merge --help` prints after the options.
#[must_use]
pub fn merge() -> String {
    format!(
        "Histograms of the same subject, probe and CPU are added, so that percentiles are those of all values, and not averages \
         of percentiles.\n\n{STATUS}"
    )
}
