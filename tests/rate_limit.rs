//! A copy held to a rate, as seen from outside: what the destination gains in any span, in what pieces, and what ends it.
//!
//! A copy that is slower than it may be is nobody's bug here: the machine may be busy. One that is faster always is.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::support::*;

/// Bytes a second of most copies here.
const TEST_RATE: u64 = 8 * MIB;

/// Between two looks at a destination.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);

/// What may be had at once, as a part of a second of the rate.
const BURST_PER_SECOND_DIVISOR: u64 = 20;

/// A padded tail is written whole, and cut off afterwards.
const TAIL_PADDING_BYTES: u64 = 4096;

/// The size of what is written, at a moment between two times.
struct SizeSample {
    before: Instant,
    bytes: u64,
    after: Instant,
}

impl SizeSample {
    fn now(measure: &impl Fn() -> u64) -> Self {
        let before = Instant::now();
        let bytes = measure();
        SizeSample {
            before,
            bytes,
            after: Instant::now(),
        }
    }
}

/// Looks at what is written until the copy has ended, and once more.
fn look(running: &mut Running, measure: impl Fn() -> u64) -> Vec<SizeSample> {
    let mut seen = Vec::new();
    loop {
        let ended = running.has_ended();
        seen.push(SizeSample::now(&measure));
        if ended {
            return seen;
        }
        thread::sleep(SAMPLE_INTERVAL);
    }
}

/// In no span, however short or long, were more bytes written than the rate allows for it, and a burst.
fn assert_held(seen: &[SizeSample], rate: u64, context: &str) {
    let Some(first) = seen.first() else {
        panic!("{context}: nobody looked");
    };
    let burst = (rate / BURST_PER_SECOND_DIVISOR + TAIL_PADDING_BYTES) as f64;
    let since = |at: Instant| at.duration_since(first.before).as_secs_f64() * rate as f64;
    // The span from a look to a later one is at most from before the one to after the other.
    let mut least = f64::INFINITY;
    for look in seen {
        let over = look.bytes as f64 - since(look.after) - least;
        assert!(
            over <= burst,
            "{context}: {over} bytes more than the rate allows, {burst} may be"
        );
        least = least.min(look.bytes as f64 - since(look.before));
    }
}

/// The least time in which so many bytes may be copied.
fn least(bytes: u64, rate: u64) -> f64 {
    bytes.saturating_sub(rate / BURST_PER_SECOND_DIVISOR) as f64 / rate as f64
}

fn size_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// A dump, and a place for its copy on the disk.
struct PacedFixture {
    from: TempDir,
    disk: TempDir,
}

impl PacedFixture {
    /// From memory.
    fn new(size: u64) -> Self {
        Self::of(shm_dir(), size)
    }

    /// Where `engine` can copy from.
    fn for_engine(engine: &str, size: u64) -> Self {
        let one_file_system = engine == "copy-file-range";
        Self::of(
            if one_file_system {
                disk_dir()
            } else {
                shm_dir()
            },
            size,
        )
    }

    fn of(from: TempDir, size: u64) -> Self {
        let pair = PacedFixture {
            from,
            disk: disk_dir(),
        };
        make_dense_dump(&pair.source(), size);
        pair
    }

    fn source(&self) -> PathBuf {
        self.from.path().join("dump")
    }

    fn copy_path(&self) -> PathBuf {
        self.disk.path().join("copy")
    }

    fn start(&self, options: &[&str]) -> Running {
        let mut command = mmapcp();
        command
            .args(options)
            .arg(self.source())
            .arg(self.copy_path());
        Running::start(&mut command)
    }

    /// A copy that succeeds and took as long as `rate` demands.
    fn paced(&self, options: &[&str], rate: u64) -> Output {
        let started = Instant::now();
        let output = self.start(options).finish();
        let took = started.elapsed().as_secs_f64();
        assert_exit_in(&output, 0, format!("{options:?}"));
        let size = size_of(&self.source());
        assert!(took >= least(size, rate), "{options:?}: {size} in {took} s");
        assert_same_content(&self.source(), &self.copy_path(), &format!("{options:?}"));
        output
    }
}

/// Does the same for every engine at once: most of it is waiting.
fn with_every_engine(check: impl Fn(&'static str) + Sync) {
    thread::scope(|scope| {
        for engine in ENGINES {
            let check = &check;
            scope.spawn(move || check(engine));
        }
    });
}

#[test]
fn no_engine_exceeds_the_rate_in_any_span() {
    with_every_engine(|engine| {
        let size = 2 * TEST_RATE - 777;
        let pair = PacedFixture::for_engine(engine, size);
        let row = format!("--engine={engine}");
        let started = Instant::now();
        let mut running = pair.start(&["--json", "--limit-rate=8M", &row]);
        let seen = look(&mut running, || size_of(&pair.copy_path()));
        let took = started.elapsed().as_secs_f64();
        let output = running.finish();
        assert_exit_in(&output, 0, engine);
        assert_held(&seen, TEST_RATE, engine);
        assert!(took >= least(size, TEST_RATE), "{engine}: {took} s");
        assert_same_content(&pair.source(), &pair.copy_path(), engine);
        let events = parse_events(&output);
        let done = only_event(&events, "done");
        assert_eq!(done["bytes"], size, "{engine}");
        assert_eq!(engines_used(&events), [engine]);
        let elapsed = done["elapsed"].as_f64().unwrap();
        assert!(elapsed >= least(size, TEST_RATE), "{engine}: {done}");
    });
}

// ---------------------------------------------------------------- pieces

/// What calls wrote to `copy`, in the order of the threads: a file of the trace each.
fn writes(traces: &Path, copy: &Path) -> Vec<u64> {
    let copy = format!("<{}>", copy.display());
    let files = fs::read_dir(traces).unwrap().map(|e| e.unwrap().path());
    let text: String = files.map(|f| fs::read_to_string(f).unwrap()).collect();
    text.lines()
        .filter(|line| line.contains(&copy))
        .filter_map(|line| line.rsplit_once(" = ")?.1.parse().ok())
        .collect()
}

/// 10 MB/s are not one write of 8 MiB a second.
#[test]
fn no_piece_is_more_than_a_twentieth_of_a_second() {
    let test = "no_piece_is_more_than_a_twentieth_of_a_second";
    if !has_tools_or_skip(test, &["strace"]) {
        return;
    }
    const CALLS: &str =
        "trace=write,writev,pwrite64,pwritev,pwritev2,splice,sendfile,copy_file_range";
    with_every_engine(|engine| {
        for rate in [KIB * 1024, 10_000_000] {
            let pair = PacedFixture::for_engine(engine, rate / 2);
            let traces = disk_dir();
            let mut command = Command::new("strace");
            command
                .args(["-ff", "-y", "-qq", "-e", CALLS, "-o"])
                .arg(traces.path().join("trace"))
                .arg(&*MMAPCP)
                .args([
                    &format!("--engine={engine}"),
                    &format!("--limit-rate={rate}"),
                ])
                .arg(pair.source())
                .arg(pair.copy_path());
            let output = run(&mut command);
            assert_exit_in(&output, 0, engine);
            assert_same_content(&pair.source(), &pair.copy_path(), engine);
            let writes = writes(traces.path(), &pair.copy_path());
            let most = writes.iter().max().expect("a trace of writes");
            assert!(*most <= rate / 20, "{engine} at {rate}: a write of {most}");
            let sum: u64 = writes.iter().sum();
            assert!(sum >= rate / 2, "{engine} at {rate}: {writes:?}");
        }
    });
}

// ---------------------------------------------------------------- what costs nothing

#[test]
fn holes_cost_nothing() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (source, copy) = (shm.path().join("dump"), disk.path().join("copy"));
    // At that rate its holes would take a quarter of an hour.
    let data = 5 << 30;
    make_dump(&source, 10 << 30, &[(data, MIB)]);
    let events = copy_json(&["--limit-rate=10M"], &source, &copy);
    assert_eq!(only_event(&events, "done")["data_bytes"], MIB);
    assert_eq!(size_of(&copy), 10 << 30);
    assert!(data_bytes(&copy) <= 2 * MIB, "holes are holes");
    let read = |path: &Path| {
        let mut bytes = vec![0; MIB as usize];
        File::open(path)
            .unwrap()
            .read_exact_at(&mut bytes, data)
            .unwrap();
        bytes
    };
    assert!(read(&source) == read(&copy), "the data between the holes");
}

#[test]
fn files_without_bytes_need_no_rate() {
    let pair = PacedFixture::new(0);
    // The first byte would come after seconds.
    for options in [
        &["--limit-rate=1K"] as &[&str],
        &["--limit-rate=1K", "--reflink=auto"],
        &["--limit-rate=1K", "--atomic", "--fsync"],
        &["--limit-rate=1K", "--engine=buffered"],
    ] {
        let output = pair.start(options).finish();
        assert_exit_in(&output, 0, format!("{options:?}"));
        assert_eq!(size_of(&pair.copy_path()), 0);
        fs::remove_file(pair.copy_path()).unwrap();
    }
}

// ---------------------------------------------------------------- trees

/// The bytes of all files below.
fn sum(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .map(|path| match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => sum(&path),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn the_jobs_of_a_tree_share_the_rate() {
    for (files, size) in [(8, 2 * MIB), (300, 40 * KIB)] {
        let (shm, disk) = (shm_dir(), disk_dir());
        let (from, to) = (shm.path().join("from"), disk.path().join("to"));
        fs::create_dir(&from).unwrap();
        for n in 0..files {
            make_dense_dump(&from.join(n.to_string()), size);
        }
        let started = Instant::now();
        let mut command = mmapcp();
        command.args(["-r", "--jobs=4", "--limit-rate=8M"]);
        let mut running = Running::start(command.arg(&from).arg(&to));
        let seen = look(&mut running, || sum(&to));
        let took = started.elapsed().as_secs_f64();
        let output = running.finish();
        assert_exit(&output, 0);
        let context = format!("{files} files of {size}");
        let bytes = files * size;
        assert!(took >= least(bytes, TEST_RATE), "{context}: {took} s");
        // A sum is taken file by file, while others grow: no more than all of them at its end, no less than at its start.
        assert_held(&seen, TEST_RATE, &context);
        for n in 0..files {
            let name = n.to_string();
            assert_same_content(&from.join(&name), &to.join(&name), &context);
        }
    }
}

// ---------------------------------------------------------------- signals

#[test]
fn a_stop_is_not_made_up_for_with_a_burst() {
    with_every_engine(|engine| {
        let pair = PacedFixture::for_engine(engine, TEST_RATE);
        let row = format!("--engine={engine}");
        let mut command = mmapcp();
        command.args(["--limit-rate=8M", &row]);
        command.arg(pair.source()).arg(pair.copy_path());
        let Some(mut running) = start_and_stop_midway(&mut command, &pair.copy_path()) else {
            panic!("{engine}: a second's worth was over at once");
        };
        thread::sleep(Duration::from_millis(700));
        let measure = || size_of(&pair.copy_path());
        let mut seen = vec![SizeSample::now(&measure)];
        running.signal(Signal::SIGCONT);
        seen.extend(look(&mut running, measure));
        let output = running.finish();
        assert_exit_in(&output, 0, engine);
        assert_held(&seen, TEST_RATE, engine);
        assert_same_content(&pair.source(), &pair.copy_path(), engine);
    });
}

/// At this rate the copy takes days: it would not end within the patience of any test.
#[test]
fn a_signal_is_heard_while_the_rate_is_waited_for() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for atomic in [false, true] {
            let pair = PacedFixture::new(200 * MIB);
            let options: &[&str] = match atomic {
                true => &["--limit-rate=1K", "--atomic"],
                false => &["--limit-rate=1K"],
            };
            let running = pair.start(options);
            wait_until("the destination is open", || {
                is_open_below(&running, pair.disk.path())
            });
            running.signal(signal);
            let output = running.finish();
            let context = format!("{signal}, {options:?}: {}", describe_output(&output));
            assert_eq!(output.status.signal(), Some(signal as i32), "{context}");
            let stderr = lossy_string(&output.stderr);
            assert_eq!(stderr.lines().count(), 1, "{context}");
            assert!(stderr.starts_with("mmapcp: "), "{context}");
            let name = format!("'{}'", pair.copy_path().display());
            assert!(stderr.contains(&name), "{context}");
            if atomic {
                let left = fs::read_dir(pair.disk.path()).unwrap().count();
                assert_eq!(left, 0, "{context}");
            }
        }
    }
}

/// Whether it has a file open there, with a name or without.
fn is_open_below(running: &Running, dir: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap();
    let mut open = open
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    open.any(|path| path != dir && path.starts_with(dir))
}

#[test]
fn a_status_line_names_the_limit() {
    let pair = PacedFixture::new(200 * MIB);
    let running = pair.start(&["--limit-rate=1M"]);
    wait_until("the copy has begun", || {
        has_written_bytes(&pair.copy_path())
    });
    // Who holds it back is known once it is held back.
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        running.signal(Signal::SIGUSR1);
    }
    thread::sleep(Duration::from_millis(200));
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains("limited to 1 MiB/s"), "{stderr}");
}

#[test]
fn an_event_names_the_limit() {
    let pair = PacedFixture::new(MIB);
    let output = pair.paced(&["--json", "--limit-rate=1M"], MIB);
    let events = parse_events(&output);
    let held = events.iter().find(|e| e["cause"] == "limit-rate");
    let held = held.unwrap_or_else(|| panic!("{}", describe_output(&output)));
    assert_eq!(held["event"], "throttle");
    assert_eq!(held["target"].as_f64(), Some(MIB as f64), "{held}");
    assert_eq!(held["rate"], MIB, "{held}");
}

// ---------------------------------------------------------------- other ways of copying

/// What fills a FIFO with a file: a process, which is ended when nobody reads. A thread would wait for ever.
fn written_to(fifo: &Path, source: &Path) -> Running {
    let mut command = Command::new("sh");
    command.args(["-c", "exec cat \"$1\" > \"$2\"", "sh"]);
    Running::start(command.args([source, fifo]))
}

#[test]
fn a_pipe_is_read_at_the_rate() {
    let pair = PacedFixture::new(2 * TEST_RATE + 5);
    let fifo = pair.from.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let writer = written_to(&fifo, &pair.source());
    let mut command = mmapcp();
    command
        .arg("--limit-rate=8M")
        .arg(&fifo)
        .arg(pair.copy_path());
    let mut running = Running::start(&mut command);
    let seen = look(&mut running, || size_of(&pair.copy_path()));
    let output = running.finish();
    assert_exit(&output, 0);
    assert_held(&seen, TEST_RATE, "from a pipe");
    let output = writer.finish();
    assert_exit(&output, 0);
    assert_same_content(&pair.source(), &pair.copy_path(), "from a pipe");
}

#[test]
fn a_pipe_is_written_at_the_rate() {
    let pair = PacedFixture::new(2 * TEST_RATE + 5);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = mmapcp();
    command.arg("--limit-rate=8M").arg(pair.source());
    let running = Running::start_to(command.arg("/dev/stdout"), writer);
    // It holds the end that is written to.
    drop(command);
    let (mut seen, mut bytes) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        // What lies in the pipe was written at some moment before, and it holds 64 KiB, of which a burst is six times as much.
        let before = Instant::now();
        let n = reader.read(&mut buffer).unwrap();
        let after = Instant::now();
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..n]);
        seen.push(SizeSample {
            before,
            bytes: bytes.len() as u64,
            after,
        });
    }
    let output = running.finish();
    assert_exit(&output, 0);
    assert_eq!(fs::read(pair.source()).unwrap(), bytes);
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    let took = (last.after - first.before).as_secs_f64();
    let pipe = 64 * KIB;
    let moved = last.bytes - first.bytes - pipe;
    assert!(took >= least(moved, TEST_RATE), "{moved} in {took} s");
}

#[test]
fn with_other_options_the_copy_is_the_same() {
    for options in [
        &["--atomic"] as &[&str],
        &["--fsync"],
        &["--sparse=always"],
        &["--sparse=never"],
        &["--direct=never"],
        &["--progress=always", "--debug"],
    ] {
        let pair = PacedFixture::new(3 * TEST_RATE / 8 + 1);
        pair.paced(&[options, &["--limit-rate=8M"]].concat(), TEST_RATE);
    }
}

/// Who is last in line waits as long as others are busy.
#[test]
fn an_idle_copy_is_held_to_the_rate() {
    let rate = MIB;
    let pair = PacedFixture::new(rate / 4);
    let started = Instant::now();
    let running = pair.start(&["--idle", "--limit-rate=1M"]);
    let output = running.finish_within(IDLE_PRIORITY_TIMEOUT);
    let took = started.elapsed().as_secs_f64();
    assert_exit(&output, 0);
    assert!(took >= least(rate / 4, rate), "{took} s");
    assert_same_content(&pair.source(), &pair.copy_path(), "--idle");
}

/// Zeros that shall become holes have to be read.
#[test]
fn zeros_are_looked_for_at_the_rate() {
    let pair = PacedFixture::new(0);
    fs::write(pair.source(), vec![0; 3 * TEST_RATE as usize / 8]).unwrap();
    let options = ["--sparse=always", "--limit-rate=8M"];
    pair.paced(&options, TEST_RATE);
    assert_eq!(data_bytes(&pair.copy_path()), 0);
    let fifo = pair.from.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let started = Instant::now();
    let writer = written_to(&fifo, &pair.source());
    let output = run(mmapcp().args(options).args([&fifo, &pair.copy_path()]));
    let took = started.elapsed().as_secs_f64();
    assert_exit(&output, 0);
    assert!(writer.finish().status.success());
    let size = size_of(&pair.source());
    assert!(took >= least(size, TEST_RATE), "{size} in {took} s");
    assert_same_content(&pair.source(), &pair.copy_path(), "from a pipe");
}

/// A source that never ends and always has more, of which nothing is written.
#[test]
fn a_signal_is_heard_among_zeros() {
    let pair = PacedFixture::new(0);
    let mut command = mmapcp();
    command.args(["--sparse=always", "/dev/zero"]);
    let running = Running::start(command.arg(pair.copy_path()));
    wait_until("the destination", || pair.copy_path().exists());
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    let ended = output.status.signal();
    assert_eq!(
        ended,
        Some(Signal::SIGTERM as i32),
        "{}",
        describe_output(&output)
    );
}

// ---------------------------------------------------------------- governed

/// Targets that are never missed: the copy is complete, with every engine, and those who watched are gone with it.
#[test]
fn a_governed_copy_is_whole_and_nobody_watches_on() {
    with_every_engine(|engine| {
        for option in unreachable_limits() {
            let pair = PacedFixture::for_engine(engine, 3 * MIB + 5);
            let output = pair
                .start(&[option, &format!("--engine={engine}")])
                .finish();
            let context = format!("{engine} {option}: {}", describe_output(&output));
            assert!(output.status.success(), "{context}");
            assert_same_content(&pair.source(), &pair.copy_path(), &context);
            assert_eq!(
                named_in_proc(&pair.copy_path()),
                [] as [String; 0],
                "{context}"
            );
        }
    });
}

/// Processes that were started with `path` on their command line. Those that one forks have it, too.
fn named_in_proc(path: &Path) -> Vec<String> {
    let wanted = path.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let line = lossy_string(&words).replace('\0', " ");
            line.contains(wanted).then_some(line)
        })
        .collect()
}
