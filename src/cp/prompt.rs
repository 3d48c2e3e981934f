//! The question of -i, and its answer.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::FileStat;
use nix::unistd::AccessFlags;

use super::at_path::AtPath;
use super::file_status::is_link;
use super::messages;
use super::options::CopyOptions;
use crate::report::OrderedOutput;

/// The interval in milliseconds at which the wait for an answer checks for signals.
const SIGNAL_CHECK_INTERVAL_MS: u16 = 100;

/// Asks whether this file may be replaced. No answer means no.
pub(super) fn ask_overwrite(
    voice: &mut OrderedOutput,
    options: &CopyOptions,
    dest: &AtPath,
    there: &FileStat,
) -> bool {
    let flags = nix::fcntl::AtFlags::AT_EACCESS;
    let writable = is_link(there)
        || nix::unistd::geteuid().is_root()
        || nix::unistd::faccessat(dest.dir(), dest.path(), AccessFlags::W_OK, flags).is_ok();
    let unwritable = (!writable).then_some(there.st_mode);
    let replaces = options.remove_destination || options.force;
    voice.ask(&messages::overwrite_question(
        dest.shown(),
        unwritable,
        replaces,
    ));
    read_answer(voice).is_some_and(|line| matches!(line.first(), Some(b'y' | b'Y')))
}

/// Reads one line of standard input, byte by byte, since the rest belongs to the next question.
fn read_answer(voice: &OrderedOutput) -> Option<Vec<u8>> {
    let stdin = std::io::stdin();
    let mut line = Vec::new();
    loop {
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(SIGNAL_CHECK_INTERVAL_MS));
        if voice.is_interrupted() {
            return None;
        }
        if !matches!(ready, Ok(n) if n > 0) {
            continue;
        }
        let mut byte = [0];
        // This bypasses the buffer of std, whose content poll(2) does not see.
        match nix::unistd::read(&stdin, &mut byte) {
            Ok(0) | Err(_) => return (!line.is_empty()).then_some(line),
            Ok(_) if byte[0] == b'\n' => return Some(line),
            Ok(_) => line.push(byte[0]),
        }
    }
}
