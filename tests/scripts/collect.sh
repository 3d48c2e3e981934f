#!/bin/sh
# collect PID: keeps what the process PID left in shared memory, named *.PID.
# Exit status: 0 all is on the disk, 1 something is not (the log says what), 2 wrong usage.
SHM=${SHM:-/dev/shm} STORE=${STORE:-/var/crash} MMAPCP=${MMAPCP:-/usr/local/lib/mmapcp/mmapcp}
LC_ALL=C PATH=/usr/bin:/bin
export LC_ALL PATH
unset POSIXLY_CORRECT
umask 077

log() {
    printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$pid: $*" >> "$STORE/log"
}

pid=${1-}
case $#$pid in
    1*[!0-9]* | 1 | [!1]*) echo 'usage: collect PID' >&2; exit 2 ;;
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

# -RP: anybody may put links and FIFOs into /dev/shm; they are kept as what they are, never followed or read.
if "$MMAPCP" -RP -p --atomic --fsync --jobs=2 -t "$kept.part" -- "$@" < /dev/null >> "$STORE/log" 2>&1 &&
    mv -T "$kept.part" "$kept" && sync "$STORE"
then
    log "collected $# to $kept"
else
    log "incomplete: see $kept.part"
    exit 1
fi
