//! The text of `--help` before and after the list of options.

use crate::transfer::engine::ENGINES;

pub(super) const ABOUT: &str =
    "Copy SOURCE to DEST, or several SOURCEs to DIRECTORY, past the page cache";

pub(super) const LONG_ABOUT: &str = "\
Copy SOURCE to DEST, or several SOURCEs to DIRECTORY, past the page cache.

Made for dumps in /dev/shm: the source is written with O_DIRECT from where it is in memory, so that neither the page cache nor \
the memory of the machine grows. Where a file system does not allow that, another way is used, and --debug and --json report it.

The options, messages and exit status are those of GNU cp. Called by the name cp, as through a symbolic link, it uses that name \
in its messages; --version names mmapcp.";

/// Returns the three forms of the command line.
pub(super) fn usage(name: &str) -> String {
    format!(
        "{name} [OPTION]... [-T] SOURCE DEST\n       \
         {name} [OPTION]... SOURCE... DIRECTORY\n       \
         {name} [OPTION]... -t DIRECTORY SOURCE..."
    )
}

const BACKUPS: &str = "\
Backups end with SUFFIX, else with SIMPLE_BACKUP_SUFFIX of the environment, else with ~. Their CONTROL is, unless --backup says \
it, VERSION_CONTROL of the environment, else existing:
  none, off      no backups, even with --backup
  numbered, t    numbered ones: NAME.~1~
  existing, nil  numbered where there are numbered ones, else simple
  simple, never  simple ones: NAME~
With -f and --backup, a file copied onto its own name is copied to its backup.";

const CRASH_GUARANTEES: &str = "\
What is at a destination when the copy is killed (kill -9), and after a power cut:
  neither            a part; a part or nothing, even some time after exit 0
  --fsync            a part; after exit 0 the whole new file, before that a part
  --atomic           the old file or the whole new one; after a power cut no promise
  --atomic --fsync   the old file or the whole new one, and after exit 0 the new one
This is so for each file, not for a tree as a whole. A kill may leave .NAME.mmapcp-N beside NAME, which the next copy to \
NAME with --atomic removes.";

const THROTTLE: &str = "\
TIME has a unit: us, ms, s, min, h. --max-fork-latency, --max-write-latency and --max-pressure measure while the copy runs \
what others feel; the latencies also before it, for 0.4 to 2 s. It begins with a trickle of 2 MiB/s, gets faster as long as they \
stay below, and slower when not (at once, for pressure once a second), down to the trickle. --max-write-latency writes a file \
without a name next to DEST, in a directory that must be writable. Of several limits the strictest counts; bar, status, --json \
and --debug name it. Limits count bytes of data that are moved: holes and shared blocks are free, but a file counts for \
4 KiB at least where one of those three is given. PSI counts the copy's own waiting for the disk, too.";

const ORDER: &str = "\
Of options that say different things the last counts. Long options may be abbreviated, and so may the words that they take. \
Options may stand behind operands, unless POSIXLY_CORRECT is set; -- ends them. An abbreviation means what it means to cp, \
whatever options are added here.";

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
        "\nFrom 256 MiB on, mmap and splice are measured against each other on the first 32 MiB of a file. Smaller files in \
         memory are copied by splice, in huge pages by mmap. Files up to 64 KiB are written by dontcache or buffered.\n\
         SIGUSR1 prints a line of status. Exit status is 0 when all was copied, else 1.",
    );
    text
}
