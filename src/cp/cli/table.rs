//! The table of options. A row defines everything about an option; see [`OptionSpec`].

use super::super::options::{Dereference, Overwrite};
use super::super::resolve::parsed_options::ParsedOptions;
use super::keywords::{self, Update};
use super::option_spec::ArgumentValues::{Directory, Free, Words};
use super::option_spec::{OptionSpec, Question, letter, optional, question, required, switch};
use crate::report::progress::ShowProgress;
use crate::transfer::Reflink;

/// All options. Those of cp are in the order of cp's own table, in which it lists the possible meanings of an
/// abbreviation.
pub static OPTION_TABLE: &[OptionSpec] = &[
    switch(
        "a",
        "archive",
        "Same as -dR --preserve=all",
        ParsedOptions::archive,
    ),
    switch(
        "",
        "attributes-only",
        "Copy no data, only the attributes",
        |parsed| parsed.options.attributes_only = true,
    ),
    optional(
        "",
        "backup",
        ("CONTROL", Words(keywords::backup)),
        "Keep what is overwritten under another name (see below)",
        |parsed, control| {
            parsed.enable_backups(control);
            Ok(())
        },
    ),
    letter("b", "Same as --backup without an argument", |parsed| {
        parsed.enable_backups(None)
    }),
    switch(
        "",
        "copy-contents",
        "Copy what FIFOs and devices yield when recursive, not the special files",
        |parsed| parsed.copy_contents = true,
    ),
    switch(
        "",
        "debug",
        "Say which engine is taken and why no other, alignment, extents and cost; \
         implies -v",
        |parsed| (parsed.options.report.debug, parsed.options.report.verbose) = (true, true),
    ),
    letter("d", "Same as --no-dereference --preserve=links", |parsed| {
        parsed.options.preserve.links = true;
        parsed.dereference = Some(Dereference::Never);
    }),
    switch(
        "L",
        "dereference",
        "Follow all symbolic links in SOURCE",
        |parsed| parsed.dereference = Some(Dereference::Always),
    ),
    switch(
        "f",
        "force",
        "Remove an existing destination file that cannot be opened, and try again",
        |parsed| parsed.options.force = true,
    ),
    switch(
        "i",
        "interactive",
        "Ask before overwriting (overrides an earlier -n)",
        |parsed| parsed.interactive = Some(Overwrite::Ask),
    ),
    letter("H", "Follow symbolic links that are operands", |parsed| {
        parsed.dereference = Some(Dereference::Operands)
    }),
    switch("l", "link", "Make hard links instead of copies", |parsed| {
        parsed.hard_link = true
    }),
    switch(
        "n",
        "no-clobber",
        "Leave existing files alone, silently (overrides an earlier -i, and -u)",
        |parsed| parsed.interactive = Some(Overwrite::Skip),
    ),
    switch(
        "P",
        "no-dereference",
        "Follow no symbolic links in SOURCE",
        |parsed| parsed.dereference = Some(Dereference::Never),
    ),
    letter(
        "p",
        "Same as --preserve=mode,ownership,timestamps",
        ParsedOptions::preserve_ownership_mode_and_times,
    ),
    required(
        "",
        "no-preserve",
        ("LIST", Free),
        "Do not preserve these attributes",
        |parsed, list| parsed.set_attributes(list, false),
    ),
    switch(
        "T",
        "no-target-directory",
        "Treat DEST as a file, never as a directory to copy into",
        |parsed| parsed.no_target_directory = true,
    ),
    switch(
        "x",
        "one-file-system",
        "Stay on the file system of each SOURCE",
        |parsed| parsed.options.one_file_system = true,
    ),
    switch(
        "",
        "parents",
        "Make the whole path of SOURCE below DIRECTORY",
        |parsed| parsed.options.parents = true,
    )
    .with_hidden_name("path"),
    optional(
        "",
        "preserve",
        ("LIST", Free),
        "Preserve these attributes: mode, ownership, timestamps (the default), links, \
         xattr, context, all",
        ParsedOptions::preserve,
    ),
    switch(
        "Rr",
        "recursive",
        "Copy directories with all that is in them",
        |parsed| parsed.options.recursive = true,
    ),
    switch(
        "",
        "remove-destination",
        "Remove an existing destination file before opening it",
        |parsed| parsed.options.remove_destination = true,
    ),
    required(
        "",
        "sparse",
        ("WHEN", Words(keywords::sparse)),
        "Holes: keep them (auto), make more of zeros (always), fill them (never)",
        |parsed, when| {
            when.keyword(keywords::SPARSE)
                .map(|sparse| parsed.options.transfer.sparse = sparse)
        },
    ),
    optional(
        "",
        "reflink",
        ("WHEN", Words(keywords::reflink)),
        "Share blocks with SOURCE: where it can be (auto), or fail (always, the default \
         of the option), or not (never)",
        |parsed, when| {
            when.map_or(Ok(Reflink::Always), |when| when.keyword(keywords::REFLINK))
                .map(|reflink| parsed.options.transfer.reflink = reflink)
        },
    ),
    switch(
        "",
        "strip-trailing-slashes",
        "Drop trailing slashes from each SOURCE",
        |parsed| parsed.options.strip_trailing_slashes = true,
    ),
    required(
        "S",
        "suffix",
        ("SUFFIX", Free),
        "What a backup's name ends with; implies --backup",
        |parsed, suffix| {
            parsed.set_suffix(suffix.value);
            Ok(())
        },
    ),
    switch(
        "s",
        "symbolic-link",
        "Make symbolic links instead of copies",
        |parsed| parsed.symbolic_link = true,
    ),
    required(
        "t",
        "target-directory",
        ("DIRECTORY", Directory),
        "Copy all SOURCEs into DIRECTORY",
        |parsed, directory| parsed.set_target_directory(directory.value),
    ),
    optional(
        "",
        "update",
        ("UPDATE", Words(keywords::update)),
        "Which existing files are replaced: all, none, none-fail (none, and that is an \
         error), older (the default of the option)",
        |parsed, which| {
            which
                .map_or(Ok(Update::Older), |which| which.keyword(keywords::UPDATE))
                .map(|update| parsed.update = update)
        },
    ),
    letter(
        "u",
        "Same as --update=older: only what is newer than its destination, or has none",
        |parsed| parsed.update = Update::Older,
    ),
    switch("v", "verbose", "Say what is copied", |parsed| {
        parsed.options.report.verbose = true
    }),
    switch(
        "",
        "keep-directory-symlink",
        "Follow an existing symbolic link to a directory where a directory goes",
        |parsed| parsed.options.keep_directory_symlink = true,
    ),
    letter(
        "Z",
        "SELinux's default context for new files: this build cannot look it up, and warns",
        |parsed| parsed.set_context(None),
    ),
    optional(
        "",
        "context",
        ("CTX", Free),
        "Set the SELinux context of new files to CTX; without CTX the same as -Z",
        |parsed, context| {
            parsed.set_context(context);
            Ok(())
        },
    ),
    question("help", "Print this help", Question::Help),
    question("version", "Print the version", Question::Version),
    switch(
        "",
        "fsync",
        "Exit with 0 only when data, attributes and names are on the disk",
        |parsed| parsed.options.durability.fsync = true,
    )
    .own(),
    switch(
        "",
        "atomic",
        "Leave at each destination the old file or the whole new one, never a part; not \
         with -l, -s, --attributes-only",
        |parsed| parsed.options.durability.atomic = true,
    )
    .own(),
    required(
        "",
        "jobs",
        ("N", Free),
        "Files at once; default: as many as serve this machine",
        |parsed, number| {
            number
                .job_count()
                .map(|jobs| parsed.options.jobs = Some(jobs))
        },
    )
    .own(),
    required(
        "",
        "engine",
        ("NAME", Words(keywords::engine)),
        "Use this engine only, and fail where it cannot do it",
        |parsed, name| {
            name.keyword(&keywords::engines())
                .map(|engine| parsed.options.transfer.engine = Some(engine))
        },
    )
    .own(),
    required(
        "",
        "direct",
        ("WHEN", Words(keywords::when)),
        "O_DIRECT: where it is real (auto), or fail (always), or not at all (never)",
        |parsed, when| {
            when.keyword(keywords::DIRECT)
                .map(|direct| parsed.options.transfer.direct = direct)
        },
    )
    .own(),
    required(
        "",
        "in-flight",
        ("SIZE", Free),
        "Bytes of one file that may be on their way to the disk at once, from 64K to 64M; \
         default: as many as make it faster by 5 %, up to 8M",
        |parsed, size| {
            size.in_flight()
                .map(|size| parsed.options.transfer.in_flight = Some(size))
        },
    )
    .own(),
    optional(
        "",
        "progress",
        ("WHEN", Words(keywords::when)),
        "A bar on a terminal for copies that last (auto), lines elsewhere too (always, \
         which is meant without WHEN), nothing (never)",
        |parsed, when| {
            let progress = when.map_or(Ok(ShowProgress::Always), |when| {
                when.keyword(keywords::PROGRESS)
            })?;
            parsed.options.report.progress = progress;
            Ok(())
        },
    )
    .own(),
    switch(
        "",
        "json",
        "One JSON object a line on standard output for each event; -v and --debug then \
         write to standard error",
        |parsed| parsed.options.report.json = true,
    )
    .own(),
    required(
        "",
        "limit-rate",
        ("RATE", Free),
        "Copy at most RATE bytes of data a second: K, M, G are powers of 1024, KB, MB, \
         GB of 1000; 1K to 100G",
        |parsed, rate| {
            rate.rate()
                .map(|rate| parsed.options.throttle.rate = Some(rate))
        },
    )
    .own(),
    required(
        "",
        "max-fork-latency",
        ("TIME", Free),
        "Go only so fast that the 99th percentile of fork on this machine stays below \
         TIME, as 5ms",
        |parsed, time| {
            time.latency()
                .map(|time| parsed.options.throttle.fork_latency = Some(time))
        },
    )
    .own(),
    required(
        "",
        "max-write-latency",
        ("TIME", Free),
        "The same for a write of 4 KiB with fdatasync by others, on the file system of \
         DEST",
        |parsed, time| {
            time.latency()
                .map(|time| parsed.options.throttle.write_latency = Some(time))
        },
    )
    .own(),
    required(
        "",
        "max-pressure",
        ("PERCENT", Free),
        "The same for the time in which some task waits for memory or for a disk (PSI)",
        |parsed, percent| {
            percent
                .pressure()
                .map(|percent| parsed.options.throttle.pressure = Some(percent))
        },
    )
    .own(),
    required(
        "",
        "give-up-after",
        ("TIME", Free),
        "Fail when at the slowest rate one of these is missed for TIME; without it the \
         copy goes on at that rate",
        |parsed, time| {
            time.give_up_time()
                .map(|time| parsed.options.throttle.give_up_after = Some(time))
        },
    )
    .own(),
    switch(
        "",
        "idle",
        "Take disk and CPU only when nobody else wants them: idle I/O class, nice 19, \
         SCHED_IDLE",
        |parsed| parsed.options.idle = true,
    )
    .own(),
];
