//! cp's semantics: its command line, names, trees and attributes.

pub mod at_path;
pub mod attrs;
pub mod backup;
pub mod by_inode;
pub mod cli;
pub mod cli_answer;
mod copy_file;
mod cut;
mod deadline;
pub mod dest;
mod drain;
mod entry_error;
pub mod environment;
pub mod error;
pub mod file_status;
pub mod fsync_set;
mod in_flight;
mod manifest;
mod messages;
mod operand_order;
pub mod operands;
pub mod options;
pub mod order;
mod path_parts;
mod prompt;
pub mod queue;
pub mod resolve;
mod resume;
mod service_notify;
pub mod space_shortage;
pub mod thread_pool;
mod throttle;
mod total_scan;
pub mod tree;
pub mod usage_error;

use std::ffi::OsString;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::observe::disk::why_direct_writes_bounce;
use crate::report::quote::quote;
use crate::report::signal_handlers::Signals;
use crate::report::{OrderedOutput, Reporter, diagnose, set_program_name};
use crate::sys::clock::MonotonicNs;
use crate::transfer::rate_limit::Limits;
use environment::Environment;
use error::Error;
use manifest::ManifestFile;
use operands::OperandJobs;
use options::CopyOptions;
use queue::error::QueueWarning;
use queue::{Admission, QueueTurn};
use service_notify::{ServiceNotifier, run_notifying, take_socket_name};
use throttle::Throttle;

/// Runs `mmapcp` with the arguments of the command line, program name first, and returns its exit status.
#[must_use]
pub fn main(words: Vec<OsString>) -> u8 {
    let began = MonotonicNs::now();
    let mut words = words.into_iter();
    if let Some(word) = words.next() {
        set_program_name(&word);
    }
    let resolved = resolve::resolve(words, &Environment::of_process());
    for warning in resolved.warnings {
        diagnose(messages::usage::usage_warning(warning));
    }
    let mut options = match resolved.options {
        Ok(options) => options,
        Err(answer) => return answer.print(),
    };
    options.throttle.began = began;
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            diagnose(&messages::signals_not_handled(&e));
            return cli_answer::EXIT_FAILURE;
        }
    };
    raise_descriptor_limit();
    let reporter = Reporter::new(&options.report, signals);
    let mut voice = reporter.first_output();
    let copied = match prepare_jobs(&options) {
        Ok(jobs) => copy_in_turn(&jobs, options, &reporter, &mut voice),
        Err(error) => report_operand_error(&error, &mut voice),
    };
    drop(voice);
    let is_cut = reporter.has_cut_files();
    let told = reporter.finish();
    match copied && told {
        true if is_cut => cli_answer::EXIT_CUT,
        true => cli_answer::EXIT_SUCCESS,
        false => cli_answer::EXIT_FAILURE,
    }
}

/// Pairs sources with destinations, in the order in which they are copied, and checks that there is time for them.
fn prepare_jobs(options: &CopyOptions) -> Result<OperandJobs, Error> {
    let mut jobs = operands::pair_operands(options)?;
    operand_order::sort_operands(&mut jobs, options);
    deadline::check_rate_limit(&jobs, options)?;
    Ok(jobs)
}

fn report_operand_error(error: &Error, voice: &mut OrderedOutput) -> bool {
    voice.error_without_file(error);
    if error.is_usage_error() {
        voice.print_hint(&messages::usage::hint());
    }
    false
}

/// Copies all operands, with --queue when it is the turn of this copy.
fn copy_in_turn(
    jobs: &OperandJobs,
    mut options: CopyOptions,
    reporter: &Reporter,
    voice: &mut OrderedOutput,
) -> bool {
    let Some(request) = options.queue.take() else {
        return copy_with_manifest(jobs, &options, None, reporter, voice);
    };
    match queue::wait_in_queue(&request, jobs, &options, reporter, voice) {
        // What the operands lead to may have changed while they waited.
        Ok(admission @ (Admission::Turn(_) | Admission::Unqueued)) => {
            match prepare_jobs(&options) {
                Ok(jobs) => copy_with_manifest(&jobs, &options, admission.turn(), reporter, voice),
                Err(error) => report_operand_error(&error, voice),
            }
        }
        Ok(Admission::Stopped) => false,
        Err(error) => {
            voice.error_without_file(&error);
            false
        }
    }
}

/// Copies all operands, and writes the manifest if there is one. After a signal it does not appear, and neither if
/// its name is that of a source or a destination; after another error it has the files that were copied.
fn copy_with_manifest(
    jobs: &OperandJobs,
    options: &CopyOptions,
    turn: Option<Box<QueueTurn>>,
    reporter: &Reporter,
    voice: &mut OrderedOutput,
) -> bool {
    let Some(path) = &options.manifest else {
        return copy(jobs, options, turn, reporter, voice);
    };
    let opened = ManifestFile::create(path).and_then(|file| Ok((file.writer()?, file)));
    let (writer, manifest) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            voice.error_without_file(&error);
            return false;
        }
    };
    reporter.set_manifest(writer);
    let copied = copy(jobs, options, turn, reporter, voice);
    if reporter.is_stopping() || reporter.is_manifest_discarded() {
        manifest.abandon();
        return false;
    }
    match manifest.finish(reporter.flush_manifest(), options.durability.fsync) {
        Ok(()) => copied,
        Err(error) => {
            voice.error_without_file(&error);
            false
        }
    }
}

/// Copies all operands within the limits, while another thread counts the total.
fn copy(
    jobs: &OperandJobs,
    options: &CopyOptions,
    turn: Option<Box<QueueTurn>>,
    reporter: &Reporter,
    voice: &mut OrderedOutput,
) -> bool {
    // Both are done before any other thread starts.
    let socket_name = take_socket_name();
    let limits = turn.as_ref().map_or(options.throttle, |turn| turn.limits);
    let throttle = match start_throttle(options, limits, jobs, voice) {
        Ok(throttle) => throttle,
        Err(error) => {
            voice.error_without_file(&error);
            return false;
        }
    };
    let notifier = socket_name.and_then(|name| ServiceNotifier::open(&name).ok());
    if voice.is_interrupted() {
        return false;
    }
    if options.transfer.room.cut {
        reporter.debug("--cut implies --atomic and --fsync");
    }
    if options.report.debug {
        report_bounced_writes(jobs, options, reporter);
    }
    let run = || {
        run_notifying(notifier, reporter, || {
            throttle::run_throttled(throttle, options, jobs, reporter, |pace| {
                total_scan::run_with_total_scan(options, jobs, reporter, || {
                    tree::copy_all(jobs, options, pace, voice)
                })
            })
        })
    };
    match turn {
        Some(turn) => turn.hold(reporter, run),
        None => run(),
    }
}

/// Starts the throttle within the limits of all copies in the queue. Where those of others cannot be kept, the copy keeps
/// its own and the least rate.
fn start_throttle(
    options: &CopyOptions,
    limits: Limits,
    jobs: &OperandJobs,
    voice: &mut OrderedOutput,
) -> Result<Option<Throttle>, Error> {
    let own = Limits {
        rate: limits.rate,
        ..options.throttle
    };
    match Throttle::start(options, limits, jobs, voice) {
        Err(error) if limits != own => {
            voice.diagnose(QueueWarning::LimitsNotShared(error.to_string()));
            Throttle::start(options, own, jobs, voice)
        }
        started => started,
    }
}

/// Reports with `--debug` that the kernel may copy direct writes to the destination once more.
fn report_bounced_writes(jobs: &OperandJobs, options: &CopyOptions, reporter: &Reporter) {
    let Ok(dir) = throttle::find_dest_directory(jobs, options) else {
        return;
    };
    if let Some(why) = why_direct_writes_bounce(Path::new("/"), &dir) {
        let dir = quote(&dir);
        reporter.debug(&format!(
            "{dir}: direct writes may be copied once more in the kernel: {why}"
        ));
    }
}

/// Raises the limit of open descriptors. With more descriptors, the walk keeps more directories open and opens fewer of
/// them twice.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
