#!/bin/sh
# collect PID: keeps what the process PID left in shared memory, named *.PID.
# Exit status: 0 all is on the disk, 1 something is not (the log says what), 2 wrong usage, 3 for some of it there was only room for the
# beginning (*.part, with a map of what it has).
#
# Crashes come together: with --queue one collector of the host copies at a time. LIMITS has the options that limit what other programs
# notice of it, and the space that stays free. DRAIN=1 frees the memory of each file while it is copied, and removes the file; LIMITS must
# not have --cut then. A link, a FIFO or a file that is open elsewhere makes the exit status 1 then, and the directory keeps the name
# *.part; a drain that was interrupted is completed by the command in the log, not by this script. systemd-tmpfiles removes what is
# old: see crash.conf.
SHM=${SHM:-/dev/shm} STORE=${STORE:-/var/crash} MMAPCP=${MMAPCP:-/usr/local/lib/mmapcp/mmapcp}
LC_ALL=C PATH=/usr/bin:/bin
export LC_ALL PATH
unset POSIXLY_CORRECT
LIMITS=${LIMITS---queue --keep-free=15% --max-write-latency=50ms}
umask 077

log() {
    printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$pid: $*" >> "$STORE/log"
}

pid=${1-}
case $#.$pid in
    1.*[!0-9]* | 1. | [!1]* | 1[!.]*) echo 'usage: collect PID' >&2; exit 2 ;;
esac

# Only what is there: a pattern that matches nothing stands for itself.
set -- "$SHM"/*."$pid" "$SHM"/.[!.]*."$pid"
for file do
    shift
    if [ -e "$file" ] || [ -L "$file" ]; then set -- "$@" "$file"; fi
done
if [ $# -eq 0 ]; then
    log 'nothing to collect'
    exit 0
fi

kept=$STORE/$pid.$(date -u +%Y%m%dT%H%M%SZ)
if ! mkdir "$kept.part" 2>> "$STORE/log"; then
    log "cannot make $kept.part"
    exit 1
fi

# A source of which only the beginning fits must stay, so --drain and --cut exclude each other.
if [ -n "${DRAIN-}" ]; then whole=--drain; else whole='--atomic --fsync --cut'; fi

# -RP: anybody may put links and FIFOs into /dev/shm; they are kept as what they are, never followed or read.
# With DRAIN=1 they stay in /dev/shm, too, and are an error.
# shellcheck disable=SC2086
"$MMAPCP" -RP -p $whole --jobs=2 $LIMITS -t "$kept.part" -- "$@" < /dev/null >> "$STORE/log" 2>&1
status=$?
if { [ $status -eq 0 ] || [ $status -eq 3 ]; } && mv -T "$kept.part" "$kept" && sync "$STORE"; then
    if [ $status -eq 3 ]; then log "cut: no room for all of $kept"; else log "collected $# to $kept"; fi
    exit $status
fi
if [ -e "$kept.part" ]; then log "incomplete: see $kept.part"; else log "perhaps not on the disk: $kept"; fi
exit 1
