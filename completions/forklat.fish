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
complete -c forklat -n "__fish_forklat_needs_command" -f -a "scale" -d 'Measure how the cost of one more process grows with their number'
complete -c forklat -n "__fish_forklat_needs_command" -f -a "watch" -d 'Show where the memory of the machine is, again and again, also on a host in trouble'
complete -c forklat -n "__fish_forklat_needs_command" -f -a "merge" -d 'Add up the histograms of several exports'
complete -c forklat -n "__fish_forklat_using_subcommand run" -l attach -d 'Measure until the process PID has ended, instead of running a command' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l for -d 'Measure for TIME, instead of running a command; with --attach, for at most TIME' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l baseline -d 'Measure the machine for TIME before the command' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l settle -d 'Measure the machine after the command until writeback has settled, for at most TIME' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l disk-limit -d 'Use a disk of RATE bytes per second, for reads and for writes, in place of the directory of --on: an ext4 on a loop device, with an image there, that is held below its I/O scheduler, as a slow disk is' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l disk-limit-size -d 'Set the size of the disk of --disk-limit [default: half of the free space, at most 16G]' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l disk-limit-above -d 'Limit the disk of the directory of --on to RATE above its I/O scheduler, by the block controller: requests wait in a queue without a bound, which no disk has' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l probe -d 'Run only the probes with these names, or all that there are' -r -f -a "wakeup\t''
fork\t''
exec\t''
touch\t''
write\t''
fsync\t''
read\t''
overwrite\t''
stream\t''
all\t''"
complete -c forklat -n "__fish_forklat_using_subcommand run" -l period -d 'Set how often a probe runs, for example fork=2ms; for several probes, separate them by commas or repeat the option' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l rss -d 'Give each process that forks (one per CPU) a heap of SIZE; fork copies its page tables, which are small if the machine uses huge pages for all programs' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l on -d 'Run the probes write, fsync and read in DIR, and exec with a program that lies there; compare copies to it, too [default: the current directory]' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l why -d 'Say why answers were late: explain each that took TIME or longer, and show how much time each cause took [default of TIME: 10ms]' -r
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-json -d 'Write everything as JSON: facts about the machine, histograms, timeline' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-csv -d 'Write the figures as CSV, one on each line' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-markdown -d 'Write the table as Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-hlog -d 'Write the latencies in nanoseconds as an HdrHistogram V2 interval log, with one line per second and probe' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-svg -d 'A picture of the latencies of each probe, for light and dark pages' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-html -d 'A page with the verdict, charts, timelines and all tables, which needs no network' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -l export-openmetrics -d 'Write the figures as OpenMetrics, for the textfile directory of a node exporter (a name that ends in .prom)' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand run" -s v -l verbose -d 'Show also each CPU, the service times, and what the observers cost'
complete -c forklat -n "__fish_forklat_using_subcommand run" -l exec-cold -d 'Drop the pages of the program from the page cache before each exec'
complete -c forklat -n "__fish_forklat_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l runs -l rounds -d 'Run N rounds. A round has each tool once, in random order, and the idle machine' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l warm-up -d 'Run N rounds before the others and leave them out of all figures' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l seed -d 'Set the seed of the order of the tools, to repeat that of another run' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l until-sure -d 'After the rounds of --runs run more, until the intervals of all latency ratios are narrow or TIME has passed since the first round' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l size -d 'Set the size of the dump that is made in /dev/shm and copied, holes included; the default depends on free memory and disk space, and is at most 256M' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l source -d 'Copy this file instead of a dump made for it' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l tool -d 'Compare this tool; ratios refer to the first one. {source} and {dest} in CMD are replaced, and no shell is used. The default tools are cp, dd oflag=direct and mmapcp' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l baseline -d 'Measure the idle machine for TIME in each round' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l squeeze -d 'Fill memory until only SIZE is available, as on a full host; release it if the machine needs it' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l memory -d 'Bring free memory into a state before each run, which decides what fresh pages cost on a virtual machine; without it, memory is as the last run left it' -r -f -a "warm\t'Touch as much as a copy needs before each run, so that its pages were in use a moment ago'
cold\t'Leave free memory alone for 3 s before each run, in which a guest gives it back to its hypervisor'
both\t'Run each tool in both states, as two columns'"
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l disk-limit -d 'Use a disk of RATE bytes per second, for reads and for writes, in place of the directory of --on: an ext4 on a loop device, with an image there, that is held below its I/O scheduler, as a slow disk is' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l disk-limit-size -d 'Set the size of the disk of --disk-limit [default: half of the free space, at most 16G]' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l disk-limit-above -d 'Limit the disk of the directory of --on to RATE above its I/O scheduler, by the block controller: requests wait in a queue without a bound, which no disk has' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l sysctl -d 'Set a sysctl for the run; may be given several times' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l probe -d 'Run only the probes with these names, or all that there are' -r -f -a "wakeup\t''
fork\t''
exec\t''
touch\t''
write\t''
fsync\t''
read\t''
overwrite\t''
stream\t''
all\t''"
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l period -d 'Set how often a probe runs, for example fork=2ms; for several probes, separate them by commas or repeat the option' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l rss -d 'Give each process that forks (one per CPU) a heap of SIZE; fork copies its page tables, which are small if the machine uses huge pages for all programs' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l on -d 'Run the probes write, fsync and read in DIR, and exec with a program that lies there; compare copies to it, too [default: the current directory]' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l why -d 'Say why answers were late: explain each that took TIME or longer, and show how much time each cause took [default of TIME: 10ms]' -r
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-json -d 'Write everything as JSON: facts about the machine, histograms, timeline' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-csv -d 'Write the figures as CSV, one on each line' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-markdown -d 'Write the table as Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-hlog -d 'Write the latencies in nanoseconds as an HdrHistogram V2 interval log, with one line per second and probe' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-svg -d 'A picture of the latencies of each probe, for light and dark pages' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-html -d 'A page with the verdict, charts, timelines and all tables, which needs no network' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l export-openmetrics -d 'Write the figures as OpenMetrics, for the textfile directory of a node exporter (a name that ends in .prom)' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l no-repeat -d 'Do not run the first tool twice in each round'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -s v -l verbose -d 'Show also each CPU, the service times, and what the observers cost'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -l exec-cold -d 'Drop the pages of the program from the page cache before each exec'
complete -c forklat -n "__fish_forklat_using_subcommand compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l max -d 'Start up to N idle processes, in powers of ten' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l touch -d 'Let each process write to SIZE of its memory before it becomes idle (fork, exec, storm)' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l file-size -d 'Set the size of the mapped file (join-mapping, write-mapping)' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l on -d 'Put the mapped file, which has no name, into DIR for the time of the run; for several directories side by side, repeat the option' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l repeat -d 'Make N measurements for each line of a table, and a twentieth of that of storms. With fewer than 100, the 99th percentile is the maximum' -r
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l only -d 'Make only the tables of these names' -r -f -a "fork\t'Fork all processes from one parent'
exec\t'Fork and exec of one program'
copy-on-write\t'Write to memory that a fork shares with its parent, in pages of 4 KiB and in huge pages'
storm\t'End all processes at once'
join-mapping\t'Map a file that others have mapped, and unmap it'
write-mapping\t'Modify a file that others have mapped'"
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l export-json -d 'Write the figures and the facts about the machine as JSON' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l export-csv -d 'Write the figures as CSV' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -l export-markdown -d 'Write the tables as Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand scale" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l interval -d 'Show the machine again after each TIME' -r
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l for -d 'Stop after TIME, and not only when a signal comes' -r
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l probe -d 'Run only the probes with these names, or all that there are' -r -f -a "wakeup\t''
fork\t''
exec\t''
touch\t''
write\t''
fsync\t''
read\t''
overwrite\t''
stream\t''
all\t''"
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l period -d 'Set how often a probe runs, for example fork=2ms; for several probes, separate them by commas or repeat the option' -r
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l rss -d 'Give each process that forks (one per CPU) a heap of SIZE; fork copies its page tables, which are small if the machine uses huge pages for all programs' -r
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l on -d 'Run the probes write, fsync and read in DIR, and exec with a program that lies there; compare copies to it, too [default: the current directory]' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l export-jsonl -d 'Append each snapshot to FILE as one line of JSON' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l no-probes -d 'Start no prober, and show only where memory is'
complete -c forklat -n "__fish_forklat_using_subcommand watch" -l exec-cold -d 'Drop the pages of the program from the page cache before each exec'
complete -c forklat -n "__fish_forklat_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-json -d 'Write everything as JSON: facts about the machine, histograms, timeline' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-csv -d 'Write the figures as CSV, one on each line' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-markdown -d 'Write the table as Markdown' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-hlog -d 'Write the latencies in nanoseconds as an HdrHistogram V2 interval log, with one line per second and probe' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-svg -d 'A picture of the latencies of each probe, for light and dark pages' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-html -d 'A page with the verdict, charts, timelines and all tables, which needs no network' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -l export-openmetrics -d 'Write the figures as OpenMetrics, for the textfile directory of a node exporter (a name that ends in .prom)' -r -F
complete -c forklat -n "__fish_forklat_using_subcommand merge" -s v -l verbose -d 'Show also each CPU and the service times'
complete -c forklat -n "__fish_forklat_using_subcommand merge" -s h -l help -d 'Print help (see more with \'--help\')'
