//! `forklat scale`: how the cost of one more process grows with the number of those that stand.
//!
//! Four questions, a table each: forked from one parent (`forked`), fork and exec of one program (`executed`), joining
//! those that have one file mapped, and changing that file (`mapped`). `ladder` goes up to the last N, `crowd` holds the
//! processes, [`growth`] fits what came out, [`render`] shows it.

mod aside;
mod budget;
mod crowd;
mod executed;
mod forked;
pub mod growth;
mod ladder;
mod limits;
mod mapped;
pub mod record;
pub mod render;
pub mod steps;
mod stop;

use std::path::Path;
use std::time::SystemTime;

pub use executed::{STAND, stand};
pub use stop::Stop;

use super::cli::scale::{Question, ScaleWords};
use super::model::VERSION;
use crate::observe::facts::Facts;
use crate::report::quote::quote;
use crate::report::units::bytes;
use crate::sys::residency::page_size;
use record::Scale;

/// What the program around a run provides.
pub struct Caller<'a> {
    /// Whether to stop: asked before each process that is started, and while waiting.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Told what is being done.
    pub status: &'a dyn Fn(&str),
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

impl Caller<'_> {
    fn check(&self) -> Result<(), Stop> {
        match (self.interrupted)() {
            true => Err(Stop::Interrupted),
            false => Ok(()),
        }
    }
}

/// The words, resolved.
#[derive(Debug)]
struct Bench<'a> {
    steps: Vec<u32>,
    touch: u64,
    file_size: u64,
    on: &'a Path,
    repeat: usize,
    caller: &'a Caller<'a>,
}

impl Question {
    const ALL: [Self; 4] = [Self::Fork, Self::Exec, Self::Join, Self::Modify];

    /// `1a`, ...
    fn name(self) -> &'static str {
        match self {
            Self::Fork => "1a",
            Self::Exec => "1b",
            Self::Join => "2a",
            Self::Modify => "2b",
        }
    }

    fn table(self, bench: &Bench<'_>) -> Result<record::Table, Stop> {
        match self {
            Self::Fork => forked::table(bench),
            Self::Exec => executed::table(bench),
            Self::Join => mapped::join(bench),
            Self::Modify => mapped::modify(bench),
        }
    }
}

/// Makes the tables. The process must have one thread. `/proc/self/exe` must answer to [`STAND`] with [`stand`].
///
/// # Errors
/// Interrupted, or the first thing that failed; no process stands and no file is left then.
pub fn run(
    words: &ScaleWords,
    command_line: Vec<String>,
    facts: Facts,
    caller: &Caller<'_>,
) -> Result<Scale, Stop> {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let bench = bench(words, caller)?;
    let asked = |question: &Question| words.only.is_empty() || words.only.contains(question);
    let questions: Vec<Question> = Question::ALL.into_iter().filter(asked).collect();
    may_stand(words, &questions)?;
    let changes = questions.contains(&Question::Modify);
    let notes = changes.then(|| mapped::note(bench.on)).flatten();
    let tables: Result<Vec<_>, Stop> = questions.iter().map(|q| q.table(&bench)).collect();
    // A terminal's ^C also ends processes that stand: what failed for that did not fail.
    let tables = tables.map_err(|stop| caller.check().err().unwrap_or(stop))?;
    Ok(Scale {
        v: VERSION,
        kind: "scale".into(),
        forklat: env!("CARGO_PKG_VERSION").into(),
        date,
        command_line,
        facts,
        touch: words.touch,
        file_size: words.file_size,
        on: words.on.clone(),
        notes: notes.into_iter().collect(),
        tables,
    })
}

fn bench<'a>(words: &'a ScaleWords, caller: &'a Caller<'a>) -> Result<Bench<'a>, Stop> {
    if words.file_size < page_size() {
        let message = format!(
            "--file-size: a file of {} is less than a page",
            words.file_size
        );
        return Err(Stop::Failed(message));
    }
    if !words.on.is_dir() {
        return Err(Stop::Failed(format!(
            "--on: {} is not a directory",
            quote(&words.on)
        )));
    }
    Ok(Bench {
        steps: steps::steps(words.max),
        touch: words.touch,
        file_size: words.file_size,
        on: &words.on,
        repeat: words.repeat as usize,
        caller,
    })
}

/// What is known before anything is made or measured; asked again, with what is known then, before each step.
fn may_stand(words: &ScaleWords, questions: &[Question]) -> Result<(), Stop> {
    // One more than stand is measured, and has as much memory as they.
    let all = u64::from(words.max) + 1;
    limits::allow(&limits::read(Path::new("/")), all)?;
    let before = ladder::memory()?;
    let asked = |any: [Question; 2]| any.iter().any(|q| questions.contains(q));
    if asked([Question::Fork, Question::Exec]) {
        let each = words.touch;
        budget::Budget { before, each }.allow(before, 0, all)?;
    }
    if asked([Question::Join, Question::Modify]) && words.file_size > before / 2 {
        let (size, half) = (bytes(words.file_size), bytes(before / 2));
        let message =
            format!("--file-size: {size} are more than half of the memory available, {half}");
        return Err(Stop::Failed(message));
    }
    Ok(())
}
