//! The process that looks where the probers are a hundred times a second, for a machine that does not let its trace points
//! be recorded: in which function of the kernel each waits, or whether it is ready to run. It tells why an answer was late
//! with less certainty than the flight recorder.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;

use super::flight_recorder::cause::{Cause, cause_of_wait};
use super::flight_recorder::explanation::{Explanation, LateAnswer};
use super::kernel_file::path_below;
use super::observer_process::{ObserverProcess, ProcessControl};
use super::ring::WordRing;
use crate::observe::error::{ObserveError, cannot, failed};
use crate::sys::clock::{self, MonotonicNs, saturating_nanos};
use crate::sys::proc_status::stat_fields;
use crate::sys::process::ProcessUsage;

/// Time between two looks. With eight probers they take 0.3 % of a CPU.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Least time between two walks over all processes. Each reads a file for every process.
const READY_INTERVAL: Duration = Duration::from_millis(100);

/// Number of looks that may wait for the reader: 40 s of ten probers that all wait.
const LOOK_RING_CAPACITY: usize = 1 << 15;

/// Bytes of the name of a function, and of the name of a task, that are kept.
const FUNCTION_BYTES: usize = 40;
const TASK_BYTES: usize = 16;

/// Words of a look: the time, the number of the prober, its state, the requests in flight, the function, the other task.
const LOOK_WORDS: usize = 4 + FUNCTION_BYTES / 8 + TASK_BYTES / 8;

/// Functions in which a prober sleeps until its next moment (`wchan` of /proc).
const SLEEPS: [&str; 3] = ["hrtimer_nanosleep", "do_nanosleep", "clock_nanosleep"];

/// Place of the CPU in /proc/PID/stat, counted from the state (field 39, proc_stat(5)).
const STAT_CPU: usize = 36;

/// Longest time to wait for the end of the process.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The parent's side of the process. Dropping it ends the process.
#[derive(Debug)]
pub struct ProberStates {
    process: ObserverProcess,
    ring: WordRing,
    /// The probers, by their process ids.
    probers: Vec<Pid>,
    looks: Vec<Look>,
    cost: Option<ProcessUsage>,
}

/// Where a prober was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    at: MonotonicNs,
    prober: usize,
    /// The letter of its state in /proc/PID/stat.
    state: u8,
    /// Requests at the disk, if they are known.
    in_flight: Option<u64>,
    /// The function in which it waited; it is empty if the kernel does not tell.
    function: String,
    /// Whether it was ready and had not run since the look before, or `None` if the kernel does not tell.
    is_starved: Option<bool>,
    /// A task that was running or ready on its CPU while it was starved; it is empty if none was found.
    occupant: String,
}

/// The processes that are running or ready, each with its CPU. They are looked for only where a prober is starved.
#[derive(Debug, Default)]
struct ReadyProcesses {
    looked: MonotonicNs,
    found: Vec<(String, Pid, String)>,
}

impl ProberStates {
    /// Starts to look at these probers. `in_flight` is the file of the disk's requests in sysfs. This process must have
    /// one thread.
    ///
    /// # Errors
    /// Processes or memory are exhausted, or /proc cannot be read.
    pub fn start(
        root: &Path,
        probers: &[Pid],
        in_flight: Option<PathBuf>,
    ) -> Result<Self, ObserveError> {
        let open = |pid: &Pid| Watched::open(root, *pid);
        let watched: Vec<Watched> = probers.iter().map(open).collect::<Result<_, _>>()?;
        let in_flight = in_flight.and_then(|path| File::open(path).ok());
        let ring = WordRing::new(LOOK_WORDS, LOOK_RING_CAPACITY);
        let ring = ring.map_err(|e| failed("share memory", e))?;
        let root = root.to_owned();
        let ((), process) = ObserverProcess::start("states", (), |(), control| {
            control.lock_memory();
            run(control, &root, &watched, in_flight.as_ref(), &ring);
            Ok::<(), ObserveError>(())
        });
        let mut process = process.map_err(|e| failed("start a process", e))?;
        process.wait_ready()?;
        Ok(Self {
            process,
            ring,
            probers: probers.to_vec(),
            looks: Vec::new(),
            cost: None,
        })
    }

    /// Fetches the looks since the last call. It must be called at least every ten seconds.
    ///
    /// # Errors
    /// The way in which the process died.
    pub fn drain(&mut self) -> Result<(), ObserveError> {
        let mut row = [0; LOOK_WORDS];
        while self.ring.pop(&mut row) {
            self.looks.push(Look::decode(&row));
        }
        self.process.check_alive()
    }

    /// Forgets the looks before a moment.
    pub fn forget_before(&mut self, moment: MonotonicNs) {
        self.looks.retain(|look| look.at >= moment);
    }

    /// Divides the time of a late answer among its causes, by where the prober was found meanwhile.
    #[must_use]
    pub fn explain(&self, late: &LateAnswer) -> Explanation {
        let of_prober =
            |look: &&Look| self.probers[look.prober].as_raw().cast_unsigned() == late.tid;
        let looks = self.looks.iter().filter(of_prober);
        let looks: Vec<&Look> = looks
            .filter(|look| (late.wanted..=late.end).contains(&look.at))
            .collect();
        explain(&looks, late.end.since(late.wanted))
    }

    /// Returns what the process has cost, once it has been stopped.
    #[must_use]
    pub fn cost(&self) -> Option<ProcessUsage> {
        self.cost
    }

    /// Ends the process, and fetches the remaining looks.
    ///
    /// # Errors
    /// The way in which the process died.
    pub fn stop(&mut self) -> Result<(), ObserveError> {
        self.process.ask_to_stop();
        let asked = MonotonicNs::now();
        while self.cost.is_none() && MonotonicNs::now().since(asked) < STOP_TIMEOUT {
            self.cost = self.process.try_finish()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut row = [0; LOOK_WORDS];
        while self.ring.pop(&mut row) {
            self.looks.push(Look::decode(&row));
        }
        Ok(())
    }
}

/// Divides a time among the causes that looks show. Each look stands for an equal part of the time.
fn explain(looks: &[&Look], time: Duration) -> Explanation {
    let mut explanation = Explanation::default();
    let expected =
        (saturating_nanos(time) / saturating_nanos(LOOK_INTERVAL)).max(looks.len() as u64);
    if expected == 0 {
        explanation.add(Cause::NotRecorded, time, "nobody looked");
        return explanation;
    }
    let part = time.div_f64(expected as f64);
    for look in looks {
        let (cause, words) = look.cause();
        explanation.add(cause, part, words);
    }
    let unseen = time.saturating_sub(part.mul_f64(looks.len() as f64));
    explanation.add(
        Cause::NotRecorded,
        unseen,
        "it was asleep, or nobody looked",
    );
    explanation.sort();
    explanation
}

impl Look {
    /// Returns the cause that a look shows, in words as well.
    fn cause(&self) -> (Cause, String) {
        match self.state {
            b'T' | b't' => return (Cause::Stopped, "a stop signal stopped it".into()),
            b'R' if !self.occupant.is_empty() => {
                let words = format!("{} was running or ready on its CPU", self.occupant);
                return (Cause::CpuTaken(self.occupant.clone()), words);
            }
            b'R' => {
                return match self.is_starved {
                    Some(true) => (Cause::NotRecorded, "it was ready and did not run".into()),
                    Some(false) => (Cause::OwnWork, "it was found running".into()),
                    None => (Cause::NotRecorded, "it was found running or ready".into()),
                };
            }
            _ => {}
        }
        let in_flight = self.in_flight.filter(|count| *count > 0);
        let disk = in_flight.map_or_else(String::new, |count| {
            format!(", with {count} requests at the disk")
        });
        match cause_of_wait(&[&self.function]) {
            Some((cause, function)) => (cause, format!("it waited in {function}{disk}")),
            None if self.function.is_empty() => (Cause::OtherWait, format!("it waited{disk}")),
            None => (
                Cause::OtherWait,
                format!("it waited in {}{disk}", self.function),
            ),
        }
    }

    fn encode(&self) -> [u64; LOOK_WORDS] {
        let mut row = [0; LOOK_WORDS];
        row[0] = self.at.as_nanos();
        row[1] = self.prober as u64;
        let starved = self
            .is_starved
            .map_or(0, |is_starved| 1 + u64::from(is_starved));
        row[2] = u64::from(self.state) | starved << 8;
        row[3] = self.in_flight.map_or(u64::MAX, |count| count);
        let (function, occupant) = row[4..].split_at_mut(FUNCTION_BYTES / 8);
        pack(&self.function, function);
        pack(&self.occupant, occupant);
        row
    }

    fn decode(row: &[u64; LOOK_WORDS]) -> Self {
        let (function, occupant) = row[4..].split_at(FUNCTION_BYTES / 8);
        Self {
            at: MonotonicNs::from_nanos(row[0]),
            prober: row[1] as usize,
            state: row[2] as u8,
            is_starved: (row[2] >> 8 != 0).then_some(row[2] >> 8 == 2),
            in_flight: (row[3] != u64::MAX).then_some(row[3]),
            function: unpack(function),
            occupant: unpack(occupant),
        }
    }
}

fn pack(text: &str, words: &mut [u64]) {
    for (word, chunk) in words.iter_mut().zip(text.as_bytes().chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(eight);
    }
}

fn unpack(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// The open files of a prober in /proc.
#[derive(Debug)]
struct Watched {
    pid: Pid,
    wchan: Option<File>,
    stat: File,
    schedstat: Option<File>,
}

impl Watched {
    fn open(root: &Path, pid: Pid) -> Result<Self, ObserveError> {
        let path = |name| path_below(root, format!("/proc/{pid}/{name}"));
        let open = |name| File::open(path(name)).map_err(|e| cannot("open", &path(name), e));
        Ok(Self {
            pid,
            // A kernel without CONFIG_KALLSYMS has none.
            wchan: open("wchan").ok(),
            stat: open("stat")?,
            // A kernel without CONFIG_SCHED_INFO has none.
            schedstat: open("schedstat").ok(),
        })
    }
}

/// Looks at all probers until it shall stop.
fn run(
    control: &ProcessControl,
    root: &Path,
    watched: &[Watched],
    in_flight: Option<&File>,
    ring: &WordRing,
) {
    let mut run_times = vec![0; watched.len()];
    let mut ready = ReadyProcesses::default();
    control.set_ready();
    let mut next = MonotonicNs::now();
    while !control.is_stopping() {
        for (prober, (files, run_time)) in watched.iter().zip(&mut run_times).enumerate() {
            // A prober that has just ended is reported by whoever started it.
            if let Ok(Some(look)) = look(root, files, (run_time, &mut ready), in_flight) {
                ring.push(&Look { prober, ..look }.encode(), 1);
            }
        }
        next = next.after(LOOK_INTERVAL).max(MonotonicNs::now());
        clock::sleep_until(next);
    }
}

/// Looks at one prober. Returns `None` while it sleeps until its next moment. `run_time` is how long it has run by the last
/// look at it, in nanoseconds.
fn look(
    root: &Path,
    files: &Watched,
    (run_time, ready): (&mut u64, &mut ReadyProcesses),
    in_flight: Option<&File>,
) -> io::Result<Option<Look>> {
    let function = files.wchan.as_ref().map(read_again).transpose()?;
    let mut function = function.unwrap_or_default();
    if SLEEPS.iter().any(|name| function.contains(name)) {
        return Ok(None);
    }
    if function == "0" {
        function.clear();
    }
    let stat = read_again(&files.stat)?;
    let state = stat_fields(&stat)
        .next()
        .map_or(b'?', |field| field.as_bytes()[0]);
    let mut look = Look {
        at: MonotonicNs::now(),
        prober: 0,
        state,
        in_flight: None,
        function,
        is_starved: None,
        occupant: String::new(),
    };
    if state == b'R' {
        let times = files
            .schedstat
            .as_ref()
            .and_then(|file| read_again(file).ok());
        let ran = times.and_then(|text| text.split(' ').next()?.parse().ok());
        look.is_starved = ran.map(|ran: u64| ran <= *run_time);
        *run_time = ran.unwrap_or(*run_time);
        let cpu = stat_fields(&stat)
            .nth(STAT_CPU)
            .filter(|_| look.is_starved == Some(true));
        look.occupant = cpu
            .and_then(|cpu| ready.on(root, cpu, files.pid))
            .unwrap_or_default();
    }
    if let Some(file) = in_flight.filter(|_| state == b'D') {
        let text = read_again(file)?;
        let numbers = text
            .split_whitespace()
            .filter_map(|n| n.parse::<u64>().ok());
        look.in_flight = Some(numbers.sum());
    }
    Ok(Some(look))
}

/// Reads a small file of the kernel from its start, without the blanks around its text.
fn read_again(file: &File) -> io::Result<String> {
    let mut buffer = [0; 1024];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
}

impl ReadyProcesses {
    /// Returns the name of a process other than `prober` that is running or ready on a CPU, as found within the last
    /// [`READY_INTERVAL`].
    fn on(&mut self, root: &Path, cpu: &str, prober: Pid) -> Option<String> {
        let now = MonotonicNs::now();
        if now.since(self.looked) >= READY_INTERVAL {
            self.looked = now;
            self.found = ready_processes(root).unwrap_or_default();
        }
        let mut found = self.found.iter();
        let other = found.find(|(where_it_is, pid, _)| where_it_is == cpu && *pid != prober);
        other.map(|(_, _, name)| name.clone())
    }
}

/// Returns the CPU, the process id and the name of each process other than this one that is running or ready.
fn ready_processes(root: &Path) -> Option<Vec<(String, Pid, String)>> {
    let entries = std::fs::read_dir(path_below(root, "/proc")).ok()?;
    let pids = entries.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = pids.filter_map(|number| {
        let pid = Pid::from_raw(number.cast_signed());
        let file = path_below(root, format!("/proc/{number}/stat"));
        let stat = std::fs::read_to_string(file).ok()?;
        let mut fields = stat_fields(&stat);
        let is_ready = fields.next() == Some("R") && pid != Pid::this();
        let cpu = fields.nth(STAT_CPU - 1)?;
        let name = stat.split_once('(')?.1.rsplit_once(')')?.0;
        is_ready.then(|| (cpu.to_owned(), pid, name.to_owned()))
    });
    Some(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel_file::root_with;

    fn seen(at_ms: u64, state: u8, function: &str) -> Look {
        Look {
            at: MonotonicNs::from_nanos(at_ms * 1_000_000),
            prober: 1,
            state,
            in_flight: (state == b'D').then_some(7),
            function: function.into(),
            is_starved: (state == b'R').then_some(false),
            occupant: String::new(),
        }
    }

    #[test]
    fn a_look_survives_the_ring() {
        let look = Look {
            occupant: "kworker/0:1H".into(),
            ..seen(5, b'D', "jbd2_log_wait_commit")
        };
        assert_eq!(Look::decode(&look.encode()), look);
        let long = seen(5, b'S', &"x".repeat(99));
        assert_eq!(
            Look::decode(&long.encode()).function,
            "x".repeat(FUNCTION_BYTES)
        );
    }

    #[test]
    fn time_is_divided_by_looks() {
        let looks = [
            seen(10, b'D', "jbd2_log_wait_commit"),
            seen(20, b'D', "jbd2_log_wait_commit"),
            seen(30, b'R', ""),
        ];
        let looks: Vec<&Look> = looks.iter().collect();
        let told = explain(&looks, Duration::from_millis(40));
        let parts: Vec<_> = told
            .causes
            .iter()
            .map(|c| (&c.cause, c.time.as_millis()))
            .collect();
        let want = [
            (&Cause::Journal, 20),
            (&Cause::OwnWork, 10),
            (&Cause::NotRecorded, 10),
        ];
        assert_eq!(parts, want);
        assert!(
            told.sentence().starts_with(
                "it waited in jbd2_log_wait_commit, with 7 requests at the disk for 20"
            ),
            "{}",
            told.sentence()
        );
        assert_eq!(explain(&[], Duration::ZERO).causes, []);
    }

    /// A kernel that shows a prober which is ready while another process has its CPU.
    #[test]
    fn a_look_finds_who_has_the_cpu() {
        let tail = " 1".repeat(STAT_CPU - 1);
        let stat = |pid: u32, name: &str, state: &str| format!("{pid} ({name}) {state}{tail} 3 0");
        let root = root_with(&[
            ("proc/70/wchan", "0"),
            ("proc/70/stat", &stat(70, "fork", "R")),
            ("proc/70/schedstat", "500 9 1\n"),
            ("proc/80/stat", &stat(80, "a (b) c", "R")),
            ("proc/81/stat", &stat(81, "sleeper", "S")),
            ("inflight", "       2        3\n"),
        ]);
        let files = Watched::open(root.path(), Pid::from_raw(70)).unwrap();
        let in_flight = File::open(root.path().join("inflight")).unwrap();
        let (mut run_time, mut ready) = (0, ReadyProcesses::default());
        let first = look(
            root.path(),
            &files,
            (&mut run_time, &mut ready),
            Some(&in_flight),
        )
        .unwrap()
        .unwrap();
        assert_eq!((first.cause().0, first.in_flight), (Cause::OwnWork, None));
        let second = look(root.path(), &files, (&mut run_time, &mut ready), None)
            .unwrap()
            .unwrap();
        assert_eq!(second.cause().0, Cause::CpuTaken("a (b) c".into()));
        std::fs::write(root.path().join("proc/70/stat"), stat(70, "fork", "D")).unwrap();
        let third = look(
            root.path(),
            &files,
            (&mut run_time, &mut ready),
            Some(&in_flight),
        )
        .unwrap()
        .unwrap();
        assert_eq!(third.in_flight, Some(5));
        std::fs::write(root.path().join("proc/70/wchan"), "hrtimer_nanosleep").unwrap();
        assert_eq!(
            look(root.path(), &files, (&mut run_time, &mut ready), None).unwrap(),
            None
        );
    }
}
