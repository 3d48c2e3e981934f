complete -c mmapcp -s t -l target-directory -d 'Copy all SOURCEs into DIRECTORY' -r -F
complete -c mmapcp -l sparse -d 'Holes: keep them (auto), make more of zeros (always), fill them (never)' -r -f -a "never\t''
auto\t''
always\t''"
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
complete -c mmapcp -l progress -d 'A bar on a terminal for copies that last (auto), lines elsewhere too (always), nothing (never)' -r -f -a "never\t''
auto\t''
always\t''"
complete -c mmapcp -s T -l no-target-directory -d 'Treat DEST as a file, never as a directory to copy into'
complete -c mmapcp -s R -s r -l recursive -d 'Copy directories with all that is in them (-r is the same); symbolic links stay links'
complete -c mmapcp -s f -l force -d 'Remove an existing destination file that cannot be opened, and try again'
complete -c mmapcp -s n -l no-clobber -d 'Leave existing files alone'
complete -c mmapcp -s p -d 'Preserve mode, ownership and times'
complete -c mmapcp -s v -l verbose -d 'Say what is copied'
complete -c mmapcp -l json -d 'One JSON object a line on standard output for each event; -v and --debug then write to standard error'
complete -c mmapcp -l debug -d 'Say which engine is taken and why no other, alignment, extents and cost; implies -v'
complete -c mmapcp -l help -d 'Print this help'
complete -c mmapcp -l version -d 'Print the version'
