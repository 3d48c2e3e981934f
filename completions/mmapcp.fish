complete -c mmapcp -l backup -d 'Keep what is overwritten under another name (see below)' -r -f -a "none\t''
off\t''
simple\t''
never\t''
existing\t''
nil\t''
numbered\t''
t\t''"
complete -c mmapcp -l no-preserve -d 'Do not preserve these attributes' -r -f
complete -c mmapcp -l preserve -d 'Preserve these attributes: mode, ownership, timestamps (the default), links, xattr, context, all' -r -f
complete -c mmapcp -l sparse -d 'Holes: keep them (auto), make more of zeros (always), fill them (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -l reflink -d 'Share blocks with SOURCE: where it can be (auto), or fail (always, the default of the option), or not (never)' -r -f -a "auto\t''
always\t''
never\t''"
complete -c mmapcp -s S -l suffix -d 'What a backup\'s name ends with; implies --backup' -r -f
complete -c mmapcp -s t -l target-directory -d 'Copy all SOURCEs into DIRECTORY' -r -f -a "(__fish_complete_directories)"
complete -c mmapcp -l update -d 'Which existing files are replaced: all, none, none-fail (none, and that is an error), older (the default of the option)' -r -f -a "all\t''
none\t''
none-fail\t''
older\t''"
complete -c mmapcp -l context -d 'Set the SELinux context of new files to CTX; without CTX the same as -Z' -r -f
complete -c mmapcp -l jobs -d 'Files at once; default: as many as serve this machine' -r -f
complete -c mmapcp -l engine -d 'Use this engine only, and fail where it cannot do it' -r -f -a "reflink\t''
mmap\t''
splice\t''
direct\t''
dontcache\t''
copy-file-range\t''
sendfile\t''
buffered\t''"
complete -c mmapcp -l direct -d 'O_DIRECT: where it is real (auto), or fail (always), or not at all (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -l progress -d 'A bar on a terminal for copies that last (auto), lines elsewhere too (always, which is meant without WHEN), nothing (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -l limit-rate -d 'Copy at most RATE bytes of data a second: K, M, G are powers of 1024, KB, MB, GB of 1000; 1K to 100G' -r -f
complete -c mmapcp -l max-fork-latency -d 'Go only so fast that the 99th percentile of fork on this machine stays below TIME, as 5ms' -r -f
complete -c mmapcp -l max-write-latency -d 'The same for a write of 4 KiB with fdatasync by others, on the file system of DEST' -r -f
complete -c mmapcp -l max-pressure -d 'The same for the time in which some task waits for memory or for a disk (PSI)' -r -f
complete -c mmapcp -l give-up-after -d 'Fail when at the slowest rate one of these is missed for TIME; without it the copy goes on at that rate' -r -f
complete -c mmapcp -s a -l archive -d 'Same as -dR --preserve=all'
complete -c mmapcp -l attributes-only -d 'Copy no data, only the attributes'
complete -c mmapcp -s b -d 'Same as --backup without an argument'
complete -c mmapcp -l copy-contents -d 'Copy what FIFOs and devices yield when recursive, not the special files'
complete -c mmapcp -l debug -d 'Say which engine is taken and why no other, alignment, extents and cost; implies -v'
complete -c mmapcp -s d -d 'Same as --no-dereference --preserve=links'
complete -c mmapcp -s L -l dereference -d 'Follow all symbolic links in SOURCE'
complete -c mmapcp -s f -l force -d 'Remove an existing destination file that cannot be opened, and try again'
complete -c mmapcp -s i -l interactive -d 'Ask before overwriting (overrides an earlier -n)'
complete -c mmapcp -s H -d 'Follow symbolic links that are operands'
complete -c mmapcp -s l -l link -d 'Make hard links instead of copies'
complete -c mmapcp -s n -l no-clobber -d 'Leave existing files alone, silently (overrides an earlier -i, and -u)'
complete -c mmapcp -s P -l no-dereference -d 'Follow no symbolic links in SOURCE'
complete -c mmapcp -s p -d 'Same as --preserve=mode,ownership,timestamps'
complete -c mmapcp -s T -l no-target-directory -d 'Treat DEST as a file, never as a directory to copy into'
complete -c mmapcp -s x -l one-file-system -d 'Stay on the file system of each SOURCE'
complete -c mmapcp -l parents -d 'Make the whole path of SOURCE below DIRECTORY'
complete -c mmapcp -s R -s r -l recursive -d 'Copy directories with all that is in them'
complete -c mmapcp -l remove-destination -d 'Remove an existing destination file before opening it'
complete -c mmapcp -l strip-trailing-slashes -d 'Drop trailing slashes from each SOURCE'
complete -c mmapcp -s s -l symbolic-link -d 'Make symbolic links instead of copies'
complete -c mmapcp -s u -d 'Same as --update=older: only what is newer than its destination, or has none'
complete -c mmapcp -s v -l verbose -d 'Say what is copied'
complete -c mmapcp -l keep-directory-symlink -d 'Follow an existing symbolic link to a directory where a directory goes'
complete -c mmapcp -s Z -d 'SELinux\'s default context for new files: this build cannot look it up, and warns'
complete -c mmapcp -l help -d 'Print this help'
complete -c mmapcp -l version -d 'Print the version'
complete -c mmapcp -l fsync -d 'Exit with 0 only when data, attributes and names are on the disk'
complete -c mmapcp -l atomic -d 'Leave at each destination the old file or the whole new one, never a part; not with -l, -s, --attributes-only'
complete -c mmapcp -l json -d 'One JSON object a line on standard output for each event; -v and --debug then write to standard error'
complete -c mmapcp -l idle -d 'Take disk and CPU only when nobody else wants them: idle I/O class, nice 19, SCHED_IDLE'
