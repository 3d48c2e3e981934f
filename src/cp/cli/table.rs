//! The table of options. A row defines everything about an option; see [`OptionSpec`].

use super::super::options::{Dereference, Overwrite};
use super::super::resolve::parsed_options::ParsedOptions;
use super::keywords::{self, Update};
use super::option_spec::ArgumentValues::{Directory, File, Free, Words};
use super::option_spec::{OptionSpec, Question, letter, optional, question, required, switch};
use super::option_value::OptionValue;
use crate::report::progress::ShowProgress;
use crate::transfer::{DigestAlgorithm, Reflink};

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
        "Make a backup of each existing destination file (see below)",
        |parsed, control| {
            parsed.enable_backups(control);
            Ok(())
        },
    ),
    letter("b", "Same as --backup without an argument", |parsed| {
        parsed.enable_backups(None);
    }),
    switch(
        "",
        "copy-contents",
        "When recursive, copy the contents of FIFOs and devices instead of making new ones",
        |parsed| parsed.copy_contents = true,
    ),
    switch(
        "",
        "debug",
        "Print which engine is used and why others cannot be, alignment, extents and cost; \
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
        parsed.dereference = Some(Dereference::Operands);
    }),
    switch("l", "link", "Make hard links instead of copies", |parsed| {
        parsed.hard_link = true;
    }),
    switch(
        "n",
        "no-clobber",
        "Silently skip existing files (overrides -u and an earlier -i)",
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
        "Copy directories with everything in them",
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
        "Keep holes (auto), also turn zeros into holes (always), or fill holes (never)",
        |parsed, when| {
            when.keyword(keywords::SPARSE)
                .map(|sparse| parsed.options.transfer.sparse = sparse)
        },
    ),
    optional(
        "",
        "reflink",
        ("WHEN", Words(keywords::reflink)),
        "Share blocks with SOURCE if possible (auto), share them or fail (always, the \
         default without WHEN), or never share them (never)",
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
        "End the names of backups with SUFFIX; implies --backup",
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
        "Choose which existing files are replaced: all, none, none-fail (none, and each is \
         an error), older (those older than SOURCE, the default without UPDATE)",
        |parsed, which| {
            which
                .map_or(Ok(Update::Older), |which| which.keyword(keywords::UPDATE))
                .map(|update| parsed.update = update)
        },
    ),
    letter(
        "u",
        "Same as --update=older: copy only if SOURCE is newer or the destination is missing",
        |parsed| parsed.update = Update::Older,
    ),
    switch("v", "verbose", "Print what is copied", |parsed| {
        parsed.options.report.verbose = true;
    }),
    switch(
        "",
        "keep-directory-symlink",
        "Follow existing symbolic links to directories in the destination",
        |parsed| parsed.options.keep_directory_symlink = true,
    ),
    letter(
        "Z",
        "Set the default SELinux context of new files; this build cannot, and warns",
        |parsed| parsed.set_context(None),
    ),
    optional(
        "",
        "context",
        ("CTX", Free),
        "Set the SELinux context of new files to CTX; without CTX, same as -Z",
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
        "Exit with 0 only after data, attributes and names are on the disk",
        |parsed| parsed.options.durability.fsync = true,
    )
    .own(),
    switch(
        "",
        "atomic",
        "Leave the old file or the complete new one at each destination, never a part; \
         cannot be combined with -l, -s or --attributes-only",
        |parsed| parsed.options.durability.atomic = true,
    )
    .own(),
    switch(
        "",
        "require-quiescent",
        "Fail before a byte is written if another process has SOURCE open or mapped for writing, or if that \
         cannot be told",
        |parsed| parsed.options.transfer.require_quiescent = true,
    )
    .own(),
    switch(
        "",
        "resume",
        "Go on with an interrupted copy where it was on the disk; a record beside DEST says where, until the copy is \
         complete",
        |parsed| parsed.options.resume = true,
    )
    .own(),
    switch(
        "",
        "drain",
        "Give the memory of SOURCE back behind what is on the disk, and remove it at the end; implies --fsync and \
         --resume; SOURCE is on tmpfs or hugetlbfs, and nobody else has it open",
        |parsed| parsed.options.transfer.drain = true,
    )
    .own(),
    switch(
        "",
        "verify",
        "When the data is on the disk, read it back past the page cache and compare it with SOURCE; a difference \
         is an error",
        |parsed| parsed.options.transfer.verify = true,
    )
    .own(),
    optional(
        "",
        "checksum",
        ("ALGORITHM", Words(keywords::checksum)),
        "Print the digest of each SOURCE that is copied, with the name of its copy, as sha256sum -c (the default) \
         or b3sum -c (blake3) reads it",
        |parsed, algorithm| {
            let algorithm = algorithm.map_or(Ok(DigestAlgorithm::default()), |algorithm| {
                algorithm.keyword(keywords::CHECKSUM)
            })?;
            parsed.options.transfer.digest = Some(algorithm);
            Ok(())
        },
    )
    .own(),
    required(
        "",
        "manifest",
        ("FILE", File),
        "Write the digests to FILE, which appears when all files are copied; implies --checksum",
        |parsed, file| {
            parsed.options.manifest = Some(file.value.into());
            Ok(())
        },
    )
    .own(),
    required(
        "",
        "jobs",
        ("N", Free),
        "Copy N files at once; the default depends on the machine",
        |parsed, number| {
            number
                .job_count()
                .map(|jobs| parsed.options.jobs = Some(jobs))
        },
    )
    .own(),
    required(
        "",
        "first",
        ("PATTERN", Free),
        "Copy files whose names match PATTERN, or whose paths match one with a slash, before all others; may be given \
         several times, the most important first",
        |parsed, pattern| {
            let pattern = pattern.pattern()?;
            parsed.options.order.first.push(pattern);
            Ok(())
        },
    )
    .own(),
    required(
        "",
        "order",
        ("KEY", Words(keywords::order)),
        "Copy operands, and the entries of each directory, as cp does (given, the default), small files before large \
         ones and directories last (size), or by name (name)",
        |parsed, key| {
            key.keyword(keywords::ORDER)
                .map(|by| parsed.options.order.by = Some(by))
        },
    )
    .own(),
    required(
        "",
        "engine",
        ("NAME", Words(keywords::engine)),
        "Use only this engine, and fail if it cannot copy a file",
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
        "Use O_DIRECT where it bypasses the page cache (auto), use it or fail (always), or \
         do not use it (never)",
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
         default: as many as make it faster by 5 %, up to 8M, or 1M while others use the disk",
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
        "Show a bar on a terminal for copies that take long (auto), lines also without a \
         terminal (always, the default without WHEN), or nothing (never)",
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
        "Write each event as a JSON object on a line of standard output; -v and --debug \
         then write to standard error",
        |parsed| parsed.options.report.json = true,
    )
    .own(),
    required(
        "",
        "keep-free",
        ("SIZE|PERCENT", Free),
        "Keep SIZE bytes, or PERCENT of the size (15%), of the file system of DEST free: fail before the first byte \
         if a file does not fit, and when others fill the disk",
        |parsed, free| {
            free.keep_free()
                .map(|free| parsed.options.transfer.room.keep_free = Some(free))
        },
    )
    .own(),
    required(
        "",
        "max-size",
        ("SIZE", Free),
        "Fail if a file has more than SIZE bytes of data, holes not counted",
        |parsed, size| {
            size.max_size()
                .map(|size| parsed.options.transfer.room.max_size = Some(size))
        },
    )
    .own(),
    switch(
        "",
        "cut",
        "Keep the beginning of a file that does not fit, or that --finish-within leaves no time for, as DEST.part, on \
         the disk, with a map of it in DEST.part.map as ddrescuelog reads it; implies --atomic and --fsync; the exit \
         status is 3 then",
        |parsed| parsed.options.transfer.room.cut = true,
    )
    .own(),
    required(
        "",
        "limit-rate",
        ("RATE", Free),
        "Copy at most RATE bytes of data per second, from 1K to 100G; K, M, G are powers \
         of 1024, and KB, MB, GB are powers of 1000",
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
        "Copy only so fast that the 99th percentile of the time of a fork on this machine \
         stays below TIME, for example 5ms",
        |parsed, time| {
            time.latency()
                .map(|time| parsed.options.throttle.fork_latency = Some(time))
        },
    )
    .own(),
    required(
        "",
        "max-wakeup-latency",
        ("TIME", Free),
        "Copy only so fast that the 99th percentile of the time from the end of a program's \
         sleep until it runs again stays below TIME, for example 1ms",
        |parsed, time| {
            time.latency()
                .map(|time| parsed.options.throttle.wakeup_latency = Some(time))
        },
    )
    .own(),
    required(
        "",
        "max-write-latency",
        ("TIME", Free),
        "Copy only so fast that the 99th percentile of the time of a 4 KiB write with \
         fdatasync, by another program on the file system of DEST, stays below TIME",
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
        "Copy only so fast that the time in which some task waits for memory, or for a \
         disk, stays below PERCENT (PSI)",
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
        "Fail if one of these three limits is exceeded for TIME at the slowest rate; \
         without this option the copy continues at that rate",
        |parsed, time| {
            time.give_up_time()
                .map(|time| parsed.options.throttle.give_up_after = Some(time))
        },
    )
    .own(),
    required(
        "",
        "finish-within",
        ("TIME", Free),
        "Hold the limits of latencies and pressure only as long as the copy can still be complete within TIME of the \
         start of the program, and then run as fast as that needs; --limit-rate always holds",
        |parsed, time| {
            time.deadline()
                .map(|time| parsed.options.throttle.finish_within = Some(time))
        },
    )
    .own(),
    switch(
        "",
        "idle",
        "Use disk and CPU only when no other program wants them: idle I/O class, nice 19, \
         SCHED_IDLE",
        |parsed| parsed.options.idle = true,
    )
    .own(),
    optional(
        "",
        "queue",
        ("NAME", Free),
        "Wait until no other copy of this user or, for root, of this host is under way in the queue NAME, and keep the \
         strictest limits of all in it; default: a queue for each device that is copied to",
        |parsed, name| {
            parsed.queue = Some(name.map(OptionValue::queue_name).transpose()?);
            Ok(())
        },
    )
    .own(),
    required(
        "",
        "queue-priority",
        ("N", Free),
        "Go before copies of the queue that have a greater N, from -20 to 19; default: 0",
        |parsed, priority| {
            parsed.queue_priority = Some(priority.queue_priority()?);
            Ok(())
        },
    )
    .own(),
    optional(
        "",
        "queue-status",
        ("NAME", Free),
        "Print who copies and who waits in the queue NAME, or in all queues, and copy nothing; with --json an object \
         on each line",
        |parsed, name| {
            parsed.queue_status = Some(name.map(OptionValue::queue_name).transpose()?);
            Ok(())
        },
    )
    .own(),
];
