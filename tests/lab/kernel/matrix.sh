# Runs in a guest: every engine, a source that shrinks, and forklat, on each of two disks.

size=@SIZE@
source=/dev/shm/source

# Data, a hole, data, a hole: at both ends there is one of each.
dd if=/dev/zero of=$source bs=1 count=0 seek=$size 2>/dev/null
dd if=/dev/urandom of=$source bs=65536 seek=16 count=40 conv=notrunc 2>/dev/null
dd if=/dev/urandom of=$source bs=65536 seek=100 count=30 conv=notrunc 2>/dev/null
dd if=/dev/urandom of=$source bs=1 count=777 seek=$((size - 777)) conv=notrunc 2>/dev/null

# What was said and how it ended, a line each.
report() {
    sed 's/^/event /' /tmp/out
    sed 's/^/stderr /' /tmp/err
    echo "status $1"
}

checks() {
    for engine in @ENGINES@; do
        echo "begin $1 $engine"
        option=--engine=$engine
        [ $engine = auto ] && option=--direct=auto
        mmapcp --json $option $source /disk/$engine > /tmp/out 2> /tmp/err
        report $?
        if [ -e /disk/$engine ]; then
            cmp $source /disk/$engine > /dev/null && echo content same
            echo "blocks $(stat -c %b /disk/$engine)"
            rm /disk/$engine
        fi
    done

    for engine in @SHRINKING@; do
        echo "begin $1 truncated $engine"
        # Not with cp: busybox's has sendfile(2), which before Linux 5.17 fills the holes of a source in tmpfs.
        dd if=$source of=/dev/shm/shrinks bs=65536 2>/dev/null
        mmapcp --json --engine=$engine --limit-rate=4M /dev/shm/shrinks /disk/shrinks > /tmp/out 2> /tmp/err &
        usleep 500000
        truncate -s 3000000 /dev/shm/shrinks
        wait $!
        report $?
        rm /dev/shm/shrinks /disk/shrinks
    done

    echo "begin $1 forklat-run"
    forklat run --baseline 1s --settle 1s --on /disk --export-json /tmp/json -- mmapcp --json $source /disk/run > /tmp/out 2> /tmp/err
    report $?
    grep -q '"fsync"' /tmp/json && grep -q '"fork"' /tmp/json && echo probes found
    rm /disk/run

    echo "begin $1 forklat-scale"
    forklat scale --max 20 --export-json /tmp/json > /tmp/table 2> /tmp/err
    code=$?
    : > /tmp/out
    report $code
    grep -q p99 /tmp/json && echo probes found
}

device=0
for fs in ext4 xfs; do
    mount -t $fs /dev/lab$device /disk || exit 1
    checks $fs
    umount /disk || exit 1
    device=$((device + 1))
done
