//! -i: the question, and the answer.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::FileStat;
use nix::unistd::AccessFlags;

use super::at_path::AtPath;
use super::options::CopyOptions;
use crate::report::quote::quote;
use crate::report::{OrderedOutput, program_name};

/// How long to wait for an answer, in milliseconds, before a signal is looked for.
const SIGNAL_CHECK_INTERVAL_MS: u16 = 100;

/// Asks whether this file may be replaced. No answer is no.
pub(super) fn ask_overwrite(
    voice: &mut OrderedOutput,
    options: &CopyOptions,
    dest: &AtPath<'_>,
    there: &FileStat,
) -> bool {
    let name = quote(dest.shown);
    let flags = nix::fcntl::AtFlags::AT_EACCESS;
    let writable = there.st_mode & libc::S_IFMT == libc::S_IFLNK
        || nix::unistd::geteuid().is_root()
        || nix::unistd::faccessat(dest.dir, dest.path, AccessFlags::W_OK, flags).is_ok();
    let question = if writable {
        format!("{}: overwrite {name}? ", program_name())
    } else {
        let (bits, letters) = (there.st_mode & 0o7777, letters(there.st_mode));
        if options.remove_destination || options.force {
            format!(
                "{}: replace {name}, overriding mode {bits:04o} ({letters})? ",
                program_name()
            )
        } else {
            format!(
                "{}: unwritable {name} (mode {bits:04o}, {letters}); try anyway? ",
                program_name()
            )
        }
    };
    voice.ask(&question);
    read_answer(voice).is_some_and(|line| matches!(line.first(), Some(b'y' | b'Y')))
}

/// One line of standard input, byte by byte: what follows belongs to the next question.
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
        // Past the buffer of std: poll(2) does not see what that holds.
        match nix::unistd::read(&stdin, &mut byte) {
            Ok(0) | Err(_) => return (!line.is_empty()).then_some(line),
            Ok(_) if byte[0] == b'\n' => return Some(line),
            Ok(_) => line.push(byte[0]),
        }
    }
}

/// Permission bits as ls(1) shows them.
fn letters(mode: u32) -> String {
    let class = |shift: u32, special: u32, mark: char| {
        let execute = match (mode & special != 0, mode >> shift & 1 != 0) {
            (true, true) => mark,
            (true, false) => mark.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        };
        let bit = |shift, letter| if mode >> shift & 1 != 0 { letter } else { '-' };
        [bit(shift + 2, 'r'), bit(shift + 1, 'w'), execute]
    };
    [
        class(6, 0o4000, 's'),
        class(3, 0o2000, 's'),
        class(0, 0o1000, 't'),
    ]
    .concat()
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::letters;

    #[test]
    fn a_mode_reads_as_in_ls() {
        for (mode, want) in [
            (0o644, "rw-r--r--"),
            (0o4755, "rwsr-xr-x"),
            (0o2640, "rw-r-S---"),
            (0o1777, "rwxrwxrwt"),
            (0o1000, "--------T"),
        ] {
            assert_eq!(letters(mode), want);
        }
    }
}
