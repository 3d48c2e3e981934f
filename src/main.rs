//! mmapcp: parse, copy, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    mmapcp::cp::main(std::env::args_os())
}
