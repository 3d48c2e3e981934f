//! forklat: parse, measure, exit status. `forklat compare` starts this program under the name of the other, so that what it
//! compares is of the same build.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use mmapcp::{cp, forklat, report};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let name = words.first().and_then(|word| Path::new(word).file_name());
    if name.is_some_and(|name| name == report::PROGRAM_NAME) {
        cp::main(words).into()
    } else {
        forklat::main(words)
    }
}
