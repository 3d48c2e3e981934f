# Runs in a guest: programs crash with memory of their own, and the kernel pipes their cores to the copy.

mkdir -p /run
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
mount -t ext4 /dev/lab0 /disk || exit 1
mkdir -m 700 /disk/crash
printf '%s' '@PATTERN@' > /proc/sys/kernel/core_pattern || exit 1
echo "pattern $(cat /proc/sys/kernel/core_pattern)"

heap=$((@HEAP@ << 20))

# Pages of the cache that no file of shared memory has, in KiB.
cached() {
    awk '$1 == "Cached:" { all = $2 } $1 == "Shmem:" { shared = $2 } END { print all - shared }' /proc/meminfo
}

# A program that has the memory filled, and waits in the write of it.
tr '\0' X < /dev/zero | head -c $heap > /dev/shm/content
start_program() {
    mkfifo /tmp/fifo.$1
    sleep 1000 < /tmp/fifo.$1 &
    readers="$readers $!"
    dd if=/dev/shm/content of=/tmp/fifo.$1 bs=$heap count=1 2>/dev/null &
    programs="$programs $!"
}

is_filled() {
    rss=$(awk '$1 == "VmRSS:" { print $2 }' /proc/$1/status)
    [ $((rss << 10)) -ge $heap ] && [ "$(cut -d ' ' -f 3 /proc/$1/stat)" = S ]
}

# Says of a core: its size, its first bytes, its kind (4 is ET_CORE), where its last segment ends, and the filled bytes it has.
describe() {
    headers=$(od -A n -t u2 -j 56 -N 2 $1)
    last=$(od -A n -v -t u8 -w56 -j 64 -N $((headers * 56)) $1 | awk '$2 + $5 > last { last = $2 + $5 } END { print last }')
    echo "core $2 $(stat -c %s $1) $(head -c 4 $1 | tail -c 3) $(($(od -A n -t u2 -j 16 -N 2 $1))) $last $(tr -cd X < $1 | wc -c) $(stat -c %a $1)"
}

crash() {
    programs= readers=
    for n in $(seq $1); do start_program $n; done
    for program in $programs; do
        until is_filled $program; do usleep 50000; done
    done
    before=$(cached)
    kill -SEGV $programs
    for program in $programs; do
        until [ -e /disk/crash/core.$program ]; do usleep 100000; done
    done
    echo "cached $1 $(($(cached) - before))"
    echo "names $1 $(ls -A /disk/crash | wc -l)"
    # A core has its name before the copy has synced its directory and ended.
    while pidof mmapcp > /dev/null; do usleep 50000; done
    # The programs are gone; who waits for them is told of their end alone.
    wait $programs 2>/dev/null
    kill $readers
    # What is described is read from the disk.
    umount /disk && mount -t ext4 /dev/lab0 /disk || exit 1
    for program in $programs; do describe /disk/crash/core.$program $1; done
    rm /disk/crash/* /tmp/fifo.*
}

for count in @COUNTS@; do
    crash $count
done
exit 0
