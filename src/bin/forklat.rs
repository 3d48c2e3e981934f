//! forklat: parse, measure, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    mmapcp::forklat::main(std::env::args_os())
}
