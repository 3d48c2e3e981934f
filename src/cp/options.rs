//! The words resolved into decisions, once. Nothing after this looks at a flag.

use std::path::PathBuf;

use super::cli::{When, Words};
use super::usage::Answer;
use crate::report::quote::quote;
use crate::report::{Report, progress};
use crate::transfer::engine;
use crate::transfer::{DirectPolicy, Options as Transfer, Sparse};

/// Where the sources go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into this directory, as -t says.
    Directory(PathBuf),
    /// To exactly this name, as -T says.
    Exact(PathBuf),
    /// Into it if it is a directory, else to it.
    Either(PathBuf),
}

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// At least one.
    pub sources: Vec<PathBuf>,
    /// Where to.
    pub target: Target,
    /// Directories too.
    pub recursive: bool,
    /// Replace what cannot be opened.
    pub force: bool,
    /// Leave what is there.
    pub no_clobber: bool,
    /// Mode, owner, times.
    pub preserve: bool,
    /// How the bytes of a file are moved.
    pub transfer: Transfer,
    /// What is told, and how.
    pub report: Report,
}

impl Options {
    /// Decides.
    ///
    /// # Errors
    /// Usage errors, in cp's words.
    pub fn resolve(words: Words) -> Result<Self, Answer> {
        let transfer = transfer(&words)?;
        let report = Report {
            verbose: words.verbose || words.debug,
            debug: words.debug,
            json: words.json,
            progress: match words.progress.unwrap_or(When::Auto) {
                When::Auto => progress::When::Auto,
                When::Always => progress::When::Always,
                When::Never => progress::When::Never,
            },
        };
        let (sources, target) = operands(
            words.operands,
            words.target_directory,
            words.no_target_directory,
        )?;
        Ok(Self {
            sources,
            target,
            recursive: words.recursive,
            force: words.force,
            no_clobber: words.no_clobber,
            preserve: words.preserve,
            transfer,
            report,
        })
    }
}

fn transfer(words: &Words) -> Result<Transfer, Answer> {
    let engine = words.engine.as_deref().and_then(engine::find);
    let direct = match words.direct.unwrap_or(When::Auto) {
        When::Auto => DirectPolicy::Auto,
        When::Always => DirectPolicy::Always,
        When::Never => DirectPolicy::Never,
    };
    if let Some(row) = engine {
        let clash = match direct {
            DirectPolicy::Auto => false,
            DirectPolicy::Always => !row.is_direct(),
            DirectPolicy::Never => row.is_direct(),
        };
        if clash {
            let when = if row.is_direct() { "never" } else { "always" };
            return Err(Answer::usage(&format!(
                "cannot combine --engine={} and --direct={when}",
                row.name
            )));
        }
    }
    let sparse = match words.sparse.unwrap_or(When::Auto) {
        When::Auto => Sparse::Auto,
        When::Always => Sparse::Always,
        When::Never => Sparse::Never,
    };
    Ok(Transfer {
        engine,
        direct,
        sparse,
        chunk: None,
    })
}

fn operands(
    mut operands: Vec<PathBuf>,
    mut directories: Vec<PathBuf>,
    exact: bool,
) -> Result<(Vec<PathBuf>, Target), Answer> {
    let missing = || Answer::usage("missing file operand");
    if directories.len() > 1 {
        return Err(Answer::error("multiple target directories specified"));
    }
    if let Some(directory) = directories.pop() {
        if operands.is_empty() {
            return Err(missing());
        }
        if exact {
            return Err(Answer::error(
                "cannot combine --target-directory (-t) and --no-target-directory (-T)",
            ));
        }
        return Ok((operands, Target::Directory(directory)));
    }
    let last = operands.pop().ok_or_else(missing)?;
    if operands.is_empty() {
        let text = format!("missing destination file operand after {}", quote(last));
        return Err(Answer::usage(&text));
    }
    if !exact {
        return Ok((operands, Target::Either(last)));
    }
    // With -T cp names the third operand, whatever comes behind it.
    match operands.get(2).or((operands.len() == 2).then_some(&last)) {
        Some(extra) => Err(Answer::usage(&format!("extra operand {}", quote(extra)))),
        None => Ok((operands, Target::Exact(last))),
    }
}
