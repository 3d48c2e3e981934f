complete -c mmapcp -l backup -d 'Make a backup of each existing destination file (see below)' -r -f -a "none\t''
off\t''
simple\t''
never\t''
existing\t''
nil\t''
numbered\t''
t\t''"
complete -c mmapcp -l no-preserve -d 'Do not preserve these attributes' -r -f
complete -c mmapcp -l preserve -d 'Preserve these attributes: mode, ownership, timestamps (the default), links, xattr, context, all' -r -f
complete -c mmapcp -l sparse -d 'Keep holes (auto), also turn zeros into holes (always), or fill holes (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -l reflink -d 'Share blocks with SOURCE if possible (auto), share them or fail (always, the default without WHEN), or never share them (never)' -r -f -a "auto\t''
always\t''
never\t''"
complete -c mmapcp -s S -l suffix -d 'End the names of backups with SUFFIX; implies --backup' -r -f
complete -c mmapcp -s t -l target-directory -d 'Copy all SOURCEs into DIRECTORY' -r -f -a "(__fish_complete_directories)"
complete -c mmapcp -l update -d 'Choose which existing files are replaced: all, none, none-fail (none, and each is an error), older (those older than SOURCE, the default without UPDATE)' -r -f -a "all\t''
none\t''
none-fail\t''
older\t''"
complete -c mmapcp -l context -d 'Set the SELinux context of new files to CTX; without CTX, same as -Z' -r -f
complete -c mmapcp -l checksum -d 'Print the digest of each SOURCE that is copied, with the name of its copy, as sha256sum -c (the default) or b3sum -c (blake3) reads it' -r -f -a "sha256\t''
blake3\t''"
complete -c mmapcp -l manifest -d 'Write the digests to FILE, which appears when all files are copied; implies --checksum' -r -F
complete -c mmapcp -l jobs -d 'Copy N files at once; the default depends on the machine' -r -f
complete -c mmapcp -l first -d 'Copy files whose names match PATTERN, or whose paths match one with a slash, before all others; may be given several times, the most important first' -r -f
complete -c mmapcp -l order -d 'Copy operands, and the entries of each directory, as cp does (given, the default), small files before large ones and directories last (size), or by name (name)' -r -f -a "given\t''
size\t''
name\t''"
complete -c mmapcp -l engine -d 'Use only this engine, and fail if it cannot copy a file' -r -f -a "reflink\t''
mmap\t''
splice\t''
direct\t''
dontcache\t''
copy-file-range\t''
sendfile\t''
buffered\t''"
complete -c mmapcp -l direct -d 'Use O_DIRECT where it bypasses the page cache (auto), use it or fail (always), or do not use it (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -l in-flight -d 'Bytes of one file that may be on their way to the disk at once, from 64K to 64M; default: as many as make it faster by 5 %, up to 8M, or 1M while others use the disk' -r -f
complete -c mmapcp -l progress -d 'Show a bar on a terminal for copies that take long (auto), lines also without a terminal (always, the default without WHEN), or nothing (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -l keep-free -d 'Keep SIZE bytes, or PERCENT of the size (15%), of the file system of DEST free: fail before the first byte if a file does not fit, and when others fill the disk' -r -f
complete -c mmapcp -l max-size -d 'Fail if a file has more than SIZE bytes of data, holes not counted' -r -f
complete -c mmapcp -l limit-rate -d 'Copy at most RATE bytes of data per second, from 1K to 100G; K, M, G are powers of 1024, and KB, MB, GB are powers of 1000' -r -f
complete -c mmapcp -l max-fork-latency -d 'Copy only so fast that the 99th percentile of the time of a fork on this machine stays below TIME, for example 5ms' -r -f
complete -c mmapcp -l max-wakeup-latency -d 'Copy only so fast that the 99th percentile of the time from the end of a program\'s sleep until it runs again stays below TIME, for example 1ms' -r -f
complete -c mmapcp -l max-write-latency -d 'Copy only so fast that the 99th percentile of the time of a 4 KiB write with fdatasync, by another program on the file system of DEST, stays below TIME' -r -f
complete -c mmapcp -l max-pressure -d 'Copy only so fast that the time in which some task waits for memory, or for a disk, stays below PERCENT (PSI)' -r -f
complete -c mmapcp -l give-up-after -d 'Fail if one of these three limits is exceeded for TIME at the slowest rate; without this option the copy continues at that rate' -r -f
complete -c mmapcp -l finish-within -d 'Hold the limits of latencies and pressure only as long as the copy can still be complete within TIME of the start of the program, and then run as fast as that needs; --limit-rate always holds' -r -f
complete -c mmapcp -l queue -d 'Wait until no other copy of this user or, for root, of this host is under way in the queue NAME, and keep the strictest limits of all in it; default: a queue for each device that is copied to' -r -f
complete -c mmapcp -l queue-priority -d 'Go before copies of the queue that have a greater N, from -20 to 19; default: 0' -r -f
complete -c mmapcp -l queue-status -d 'Print who copies and who waits in the queue NAME, or in all queues, and copy nothing; with --json an object on each line' -r -f
complete -c mmapcp -s a -l archive -d 'Same as -dR --preserve=all'
complete -c mmapcp -l attributes-only -d 'Copy no data, only the attributes'
complete -c mmapcp -s b -d 'Same as --backup without an argument'
complete -c mmapcp -l copy-contents -d 'When recursive, copy the contents of FIFOs and devices instead of making new ones'
complete -c mmapcp -l debug -d 'Print which engine is used and why others cannot be, alignment, extents and cost; implies -v'
complete -c mmapcp -s d -d 'Same as --no-dereference --preserve=links'
complete -c mmapcp -s L -l dereference -d 'Follow all symbolic links in SOURCE'
complete -c mmapcp -s f -l force -d 'Remove an existing destination file that cannot be opened, and try again'
complete -c mmapcp -s i -l interactive -d 'Ask before overwriting (overrides an earlier -n)'
complete -c mmapcp -s H -d 'Follow symbolic links that are operands'
complete -c mmapcp -s l -l link -d 'Make hard links instead of copies'
complete -c mmapcp -s n -l no-clobber -d 'Silently skip existing files (overrides -u and an earlier -i)'
complete -c mmapcp -s P -l no-dereference -d 'Follow no symbolic links in SOURCE'
complete -c mmapcp -s p -d 'Same as --preserve=mode,ownership,timestamps'
complete -c mmapcp -s T -l no-target-directory -d 'Treat DEST as a file, never as a directory to copy into'
complete -c mmapcp -s x -l one-file-system -d 'Stay on the file system of each SOURCE'
complete -c mmapcp -l parents -d 'Make the whole path of SOURCE below DIRECTORY'
complete -c mmapcp -s R -s r -l recursive -d 'Copy directories with everything in them'
complete -c mmapcp -l remove-destination -d 'Remove an existing destination file before opening it'
complete -c mmapcp -l strip-trailing-slashes -d 'Drop trailing slashes from each SOURCE'
complete -c mmapcp -s s -l symbolic-link -d 'Make symbolic links instead of copies'
complete -c mmapcp -s u -d 'Same as --update=older: copy only if SOURCE is newer or the destination is missing'
complete -c mmapcp -s v -l verbose -d 'Print what is copied'
complete -c mmapcp -l keep-directory-symlink -d 'Follow existing symbolic links to directories in the destination'
complete -c mmapcp -s Z -d 'Set the default SELinux context of new files; this build cannot, and warns'
complete -c mmapcp -l help -d 'Print this help'
complete -c mmapcp -l version -d 'Print the version'
complete -c mmapcp -l fsync -d 'Exit with 0 only after data, attributes and names are on the disk'
complete -c mmapcp -l atomic -d 'Leave the old file or the complete new one at each destination, never a part; cannot be combined with -l, -s or --attributes-only'
complete -c mmapcp -l require-quiescent -d 'Fail before a byte is written if another process has SOURCE open or mapped for writing, or if that cannot be told'
complete -c mmapcp -l resume -d 'Go on with an interrupted copy where it was on the disk; a record beside DEST says where, until the copy is complete'
complete -c mmapcp -l drain -d 'Give the memory of SOURCE back behind what is on the disk, and remove it at the end; implies --fsync and --resume; SOURCE is on tmpfs or hugetlbfs, and nobody else has it open'
complete -c mmapcp -l verify -d 'When the data is on the disk, read it back past the page cache and compare it with SOURCE; a difference is an error'
complete -c mmapcp -l json -d 'Write each event as a JSON object on a line of standard output; -v and --debug then write to standard error'
complete -c mmapcp -l cut -d 'Keep the beginning of a file that does not fit, or that --finish-within leaves no time for, as DEST.part, on the disk, with a map of it in DEST.part.map as ddrescuelog reads it; implies --atomic and --fsync; the exit status is 3 then'
complete -c mmapcp -l idle -d 'Use disk and CPU only when no other program wants them: idle I/O class, nice 19, SCHED_IDLE'
