# Runs in a guest: drains one source after the other to the disk, and marks on the second disk what has come back of each.

rounds=@ROUNDS@
export MMAPCP_LAB_SMALL_STEPS=1

marks=0
# The disk has it before the next thing is done.
mark() {
    printf '%-4096s' "mark $*" | dd of=/dev/lab1 bs=4096 seek=$marks conv=notrunc,fsync 2>/dev/null || exit 1
    marks=$((marks + 1))
}

mount -t @FS@ /dev/lab0 /disk || exit 1
mkdir /disk/drain
sync
mark ready drain 0

n=1
while [ $n -le $rounds ]; do
    yes "copy $n" | head -c @SIZE@ > /dev/shm/source
    mark begin drain $n
    freed=0
    # The names of the fields are sorted: {"bytes":N,"destination":...
    @BREAK@ mmapcp --drain --json @OPTIONS@ /dev/shm/source /disk/drain/copy-$n > /dev/shm/events &
    copy=$!
    seen=0
    while :; do
        ended=1
        kill -0 $copy 2>/dev/null && ended=0
        lines=$(grep -c '"event":"freed"' /dev/shm/events)
        if [ $lines -gt $seen ]; then
            freed=$(grep '"event":"freed"' /dev/shm/events | head -n $lines |
                sed 's/^{"bytes":\([0-9]*\),.*/\1/' | awk '{ sum += $1 } END { printf "%d", sum }')
            mark freed-$freed drain $n
            seen=$lines
        fi
        [ $ended -eq 1 ] && [ $lines -le $seen ] && break
        usleep 1000
    done
    wait $copy || exit 1
    [ -e /dev/shm/source ] && exit 1
    mark done drain $n
    # Two copies are enough to look at, and the disk is small.
    [ $n -gt 2 ] && rm -f /disk/drain/copy-$((n - 2))
    n=$((n + 1))
done
