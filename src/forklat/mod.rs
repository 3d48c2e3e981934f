//! What the machine feels while something runs.

pub mod cli;
pub mod model;
pub mod scale;

use std::process::ExitCode;

use clap::Parser;

use crate::report::signals::Signals;

#[derive(Parser)]
#[command(name = "forklat")]
enum Words {
    /// How the cost of one more process grows
    Scale(cli::scale::ScaleWords),
}

/// Runs `forklat` with the words of the command line, program name first.
#[must_use]
pub fn main(words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let words: Vec<_> = words.into_iter().collect();
    if words.get(1).is_some_and(|word| word == scale::STAND) {
        return ExitCode::from(scale::stand(words.into_iter().skip(2)) as u8);
    }
    let line = words
        .iter()
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    let Words::Scale(asked) = Words::parse_from(words);
    let Ok(signals) = Signals::install() else {
        return ExitCode::FAILURE;
    };
    let caller = scale::Caller {
        interrupted: &|| signals.pending().is_some(),
        status: &|text| eprintln!("{text}"),
    };
    let run = || {
        let exports = scale::export::Exports::open(&asked)?;
        let scale = scale::run(&asked, line, Default::default(), &caller)?;
        print!("{}", scale::render::text(&scale));
        exports.write(&scale)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(scale::Stop::Interrupted) => {
            signals.raise_again();
            ExitCode::FAILURE
        }
        Err(scale::Stop::Failed(message)) => {
            eprintln!("forklat: {message}");
            ExitCode::FAILURE
        }
    }
}
