# Runs in a guest: memory that is nearly full, a slow disk, and a dump that is copied to it while bystanders wait.

mount -t ext4 /dev/lab0 /disk || exit 1
echo @DIRTY@ > /proc/sys/vm/dirty_ratio
echo @BACKGROUND@ > /proc/sys/vm/dirty_background_ratio

kib() {
    awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo
}

of_vmstat() {
    awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat
}

dd if=/dev/urandom of=/dev/shm/dump bs=1M count=@DUMP@ 2>/dev/null || exit 1
fill=$(($(kib MemAvailable) / 1024 - @SLACK@))
if [ $fill -gt 0 ]; then
    dd if=/dev/zero of=/dev/shm/filler bs=1M count=$fill 2>/dev/null || exit 1
fi
echo "available $(kib MemAvailable)"
# A drained dump is gone afterwards.
case "@TOOL@" in
    *--drain*) sum=$(cksum < /dev/shm/dump) ;;
esac

scanned=$(of_vmstat pgscan_direct)
cached=$(($(kib Cached) - $(kib Shmem)))

# When the kernel runs out of memory it may take whom it likes, but not the one who tells of it.
echo -1000 > /proc/self/oom_score_adj
echo 'echo 0 > /proc/self/oom_score_adj; exec "$@"' > /tmp/mortal

# How much memory there is, and how much of the copy, five times a second.
(
    while [ ! -e /tmp/ended ]; do
        size=$(stat -c %s /disk/copy 2>/dev/null)
        echo "sample $(kib MemAvailable) ${size:-0}"
        usleep 200000
    done
) > /tmp/samples &
sampler=$!

# The one outside starts a program that lies in memory, the one inside asks the slow disk.
sh /tmp/mortal forklat run --probe exec --period exec=100ms --baseline 1s --settle 1s --export-json /tmp/outer -- \
    forklat run --probe exec,write,fsync --period exec=100ms --baseline 3s --settle 10s --on /disk --export-json /tmp/inner -- \
    @TOOL@ > /tmp/said 2>&1
echo "status $?"
touch /tmp/ended
wait $sampler
cat /tmp/samples

echo "scanned $(($(of_vmstat pgscan_direct) - scanned))"
echo "cached $(($(kib Cached) - $(kib Shmem) - cached))"
echo "killed $(of_vmstat oom_kill)"
if [ -e /dev/shm/dump ]; then
    cmp /dev/shm/dump /disk/copy > /dev/null && echo "content same"
else
    [ "$(cksum < /disk/copy)" = "$sum" ] && echo "content same"
fi
sed 's/^/said /' /tmp/said
for where in inner outer; do
    [ -s /tmp/$where ] && echo "$where $(tr -d '\n' < /tmp/$where)"
done
exit 0
