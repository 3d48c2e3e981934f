//! The text of `--help` before and after the list of options.

use crate::transfer::engine::ENGINES;

pub(super) const ABOUT: &str =
    "Copy SOURCE to DEST, or several SOURCEs to DIRECTORY, past the page cache";

pub(super) const LONG_ABOUT: &str = "\
Copy SOURCE to DEST, or several SOURCEs to DIRECTORY, past the page cache.

The program is made for dumps in /dev/shm: it writes the source to the disk with O_DIRECT from where it is in memory, so that \
the copy fills neither the page cache nor other memory. Where a file system does not allow that, the program uses another way, \
and --debug and --json report it.

The options, messages and exit status are those of GNU cp. If the program is called by the name cp, for example through a \
symbolic link, it uses that name in its messages; --version still prints mmapcp.";

/// Returns the three forms of the command line.
pub(super) fn usage(name: &str) -> String {
    format!(
        "{name} [OPTION]... [-T] SOURCE DEST\n       \
         {name} [OPTION]... SOURCE... DIRECTORY\n       \
         {name} [OPTION]... -t DIRECTORY SOURCE..."
    )
}

const BACKUPS: &str = "\
The name of a backup ends with SUFFIX, or with the value of the environment variable SIMPLE_BACKUP_SUFFIX, or with ~. CONTROL \
is the argument of --backup, or the value of the environment variable VERSION_CONTROL, or existing:
  none, off      make no backups, even with --backup
  numbered, t    make numbered backups: NAME.~1~
  existing, nil  numbered if numbered backups exist, otherwise simple
  simple, never  make simple backups: NAME~
With -f and --backup, a file that is copied onto itself is copied to its backup.";

const CRASH_GUARANTEES: &str = "\
What is at the destination after the copy was killed (kill -9), and after a power cut:
  neither            killed: a part of the new file
                     power cut: a part or an empty file, even some time after exit 0
  --fsync            killed: a part of the new file
                     power cut: the new file after exit 0, a part before that
  --atomic           killed: the old file or the complete new one
                     power cut: no promise
  --atomic --fsync   killed: the old file or the complete new one
                     power cut: the same, and after exit 0 the new one
This holds for each file, not for a tree as a whole. A kill may leave the file .NAME.mmapcp-N beside NAME; the next copy to \
NAME with --atomic removes it.";

const THROTTLE: &str = "\
TIME needs a unit: us, ms, s, min or h. The options with --max measure what other programs \
feel while the copy runs. The latencies are also measured before the copy starts, which takes 0.1 to 2 s. The copy starts at \
2 MiB/s. It gets faster while the measured value is below the limit, and slower while it is above it (for a latency at once, for \
pressure once a second), but not slower than 2 MiB/s. --max-write-latency writes to a file without a name in the directory of \
DEST, which must be writable. If several limits are given, the strictest one applies; the progress bar, the status line, --json \
and --debug name it. Limits count the bytes of data that are moved, and not holes or shared blocks. With one of these \
options a file counts for at least 4 KiB. PSI also counts the time in which the copy itself waits for the disk.";

const ORDER: &str = "\
If options contradict each other, the last one counts. Long options and the keywords that they take may be abbreviated; an \
abbreviation that cp accepts means the same as in cp. Options may follow operands, unless POSIXLY_CORRECT is set; -- ends the \
options.";

/// Returns the text after the options: backups, crash guarantees, limits, abbreviations and the table of engines.
pub(super) fn after() -> String {
    let mut text = format!(
        "{BACKUPS}\n\n{CRASH_GUARANTEES}\n\n{THROTTLE}\n\n{ORDER}\n\nEngines, in order of preference:\n"
    );
    for row in ENGINES {
        text.push_str(&format!(
            "  {:<16} {}\n  {:<16} when: {}\n",
            row.name, row.description, "", row.applies_to
        ));
    }
    text.push_str(
        "\nFor files of at least 256 MiB, mmap and splice are measured against each other on the first 32 MiB, and the cheaper \
         one copies the rest. Smaller files in memory are copied by splice, or by mmap if they are in huge pages. Files of up \
         to 64 KiB are written by dontcache or buffered.\n\
         SIGUSR1 prints a line of status. The exit status is 0 if everything was copied, 3 if files were cut and \
         nothing else failed, and otherwise 1.",
    );
    text
}
