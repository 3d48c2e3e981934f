//! What cp means: the words of its command line, names, trees and attributes.

pub mod attrs;
pub mod backup;
pub mod by_inode;
pub mod cli;
mod count;
pub mod dest;
pub mod durable;
pub mod environment;
mod failed;
mod file;
pub mod file_id;
mod in_flight;
pub mod operands;
pub mod options;
mod path_parts;
pub mod place;
pub mod pool;
mod prompt;
pub mod resolve;
mod throttle;
pub mod tree;
pub mod usage;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::report::signals::Signals;
use crate::report::{Reporter, Voice, called, diagnose};
use environment::Environment;
use operands::Jobs;
use options::Options;
use throttle::Throttle;

/// Runs `mmapcp` with the words of the command line, program name first.
#[must_use]
pub fn main(words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let mut words = words.into_iter();
    if let Some(word) = words.next() {
        called(&word);
    }
    let resolved = resolve::resolve(words, &Environment::of_process());
    for warning in &resolved.warnings {
        diagnose(warning);
    }
    let options = match resolved.options {
        Ok(options) => options,
        Err(answer) => return answer.print(),
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => return usage::Answer::error(&format!("cannot handle signals: {e}")).print(),
    };
    raise_descriptor_limit();
    let reporter = Reporter::new(&options.report, signals);
    let mut voice = reporter.voice();
    let copied = match operands::jobs(&options) {
        Ok(jobs) => copy(&jobs, &options, &reporter, &mut voice),
        Err(refused) => {
            voice.error_without_file(&refused.message);
            if refused.hint {
                voice.hint(&usage::hint());
            }
            false
        }
    };
    drop(voice);
    let told = reporter.finish();
    if copied && told {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Copies, held to what is allowed, and counting beside it what there is to do.
fn copy(jobs: &Jobs, options: &Options, reporter: &Reporter, voice: &mut Voice) -> bool {
    // Before anything else has a thread.
    let throttle = match Throttle::start(options, jobs, voice) {
        Ok(throttle) => throttle,
        Err(message) => {
            voice.error_without_file(&message);
            return false;
        }
    };
    if voice.interrupted() {
        return false;
    }
    throttle::beside(throttle, (options, jobs), reporter, |pace| {
        count::beside(options, jobs, reporter, || {
            tree::copy_all(jobs, options, pace, voice)
        })
    })
}

/// The more descriptors there are, the more directories the walk keeps open, and the fewer it opens twice.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
