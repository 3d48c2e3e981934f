# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_forklat_global_optspecs
    string join \n h/help V/version
end

function __fish_forklat_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_forklat_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_forklat_using_subcommand
    set -l cmd (__fish_forklat_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c forklat -n "__fish_forklat_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_needs_command" -s V -l version -d 'Print version'
complete -c forklat -n "__fish_forklat_needs_command" -f -a "run" -d 'Measure an idle machine, then the same while COMMAND runs, then until writeback has settled'
complete -c forklat -n "__fish_forklat_needs_command" -f -a "compare" -d 'Compare tools that copy: cp, dd and mmapcp, or those given'
complete -c forklat -n "__fish_forklat_needs_command" -f -a "scale" -d 'How the cost of one more process grows'
complete -c forklat -n "__fish_forklat_needs_command" -f -a "merge" -d 'Add up the histograms of several exports'
complete -c forklat -n "__fish_forklat_using_subcommand run" -l attach -d 'Instead of a command: until the process PID has ended' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l for -d 'Instead of a command: for so long; with --attach, at most so long' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l baseline -d 'How long the machine is measured before' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l settle -d 'How long it is measured afterwards at most, until writeback has settled' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l probe -d 'Ask only for the probes of these names' -r -f -a "wakeup\t''
fork\t''
exec\t''
touch\t''
write\t''
fsync\t''
read\t''"
complete -c forklat -n "__fish_forklat_using_subcommand run" -l period -d 'How often: fork=2ms; may be given for several, with commas or again' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l rss -d 'Give each forker (there is one a CPU) a heap of this size: its page tables are what fork copies, and there are few where the machine gives huge pages to everyone' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l on -d 'The directory whose file system is asked: write, fsync, read, and exec of a program that lies there' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-json -d 'Everything: facts of the machine, histograms, timeline' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-csv -d 'A line for each figure' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-markdown -d 'The table in Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-hlog -d 'HdrHistogram V2 interval log of the latencies in nanoseconds, a line a second for each probe' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-svg -d 'A picture of the latencies of each probe, for light and dark pages' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -s v -l verbose -d 'Each CPU, the service times, and what the observers cost, too'
complete -c forklat -n "__fish_forklat_using_subcommand run" -l exec-cold -d 'Drop the pages of the program before each exec'
complete -c forklat -n "__fish_forklat_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l runs -d 'How often each tool copies; their order turns round each time' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l size -d 'Size of the dump that is made in /dev/shm and copied, holes included; unless given, from the memory and disk at hand, at most 1G' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l source -d 'Copy this file instead of a dump made for it' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l tool -d 'A tool to compare, the first being what ratios refer to; {source} and {dest} in CMD are replaced, no shell is involved. Unless given: cp, dd oflag=direct, mmapcp' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l baseline -d 'How long the machine is measured before' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l squeeze -d 'Fill memory until only SIZE is available, as on a full host; let go when the machine needs it' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l disk-limit -d 'Hold the device under --on to RATE bytes a second, reading and writing' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l sysctl -d 'Set a sysctl for the run; may be given again' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l probe -d 'Ask only for the probes of these names' -r -f -a "wakeup\t''
fork\t''
exec\t''
touch\t''
write\t''
fsync\t''
read\t''"
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l period -d 'How often: fork=2ms; may be given for several, with commas or again' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l rss -d 'Give each forker (there is one a CPU) a heap of this size: its page tables are what fork copies, and there are few where the machine gives huge pages to everyone' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l on -d 'The directory whose file system is asked: write, fsync, read, and exec of a program that lies there' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-json -d 'Everything: facts of the machine, histograms, timeline' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-csv -d 'A line for each figure' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-markdown -d 'The table in Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-hlog -d 'HdrHistogram V2 interval log of the latencies in nanoseconds, a line a second for each probe' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-svg -d 'A picture of the latencies of each probe, for light and dark pages' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -s v -l verbose -d 'Each CPU, the service times, and what the observers cost, too'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l exec-cold -d 'Drop the pages of the program before each exec'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l max -d 'Go up to N processes that stand, in powers of ten' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l touch -d 'How much of its memory each process writes to before it stands (1a, 1b)' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l file-size -d 'Size of the file that is mapped (2a, 2b)' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l on -d 'Where that file lies for the time of the run; it has no name' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l repeat -d 'Measurements a cell. Of fewer than 100, the 99th percentile is the maximum' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l only -d 'Make only the tables of these names' -r -f -a "1a\t'Fork all processes from one parent'
1b\t'Fork and exec of one program'
2a\t'Join and leave those that have one file mapped'
2b\t'Modify a file that others have mapped'"
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l export-json -d 'Write the figures, and the facts of the machine, as JSON' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l export-csv -d 'Write the figures as CSV' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l export-markdown -d 'Write the tables as Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-json -d 'Everything: facts of the machine, histograms, timeline' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-csv -d 'A line for each figure' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-markdown -d 'The table in Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-hlog -d 'HdrHistogram V2 interval log of the latencies in nanoseconds, a line a second for each probe' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-svg -d 'A picture of the latencies of each probe, for light and dark pages' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -s v -l verbose -d 'Each CPU and the service times, too'
complete -c forklat -n "__fish_forklat_using_subcommand merge" -s h -l help -d 'Print help (see more with \'--help\')'
