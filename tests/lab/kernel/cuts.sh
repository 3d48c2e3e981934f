# Runs in a guest: copies in every variant, again and again, and a mark on the second disk before and after each.

variants="@VARIANTS@"
rounds=@ROUNDS@

marks=0
# The disk has it before the next thing is done.
mark() {
    printf '%-4096s' "mark $*" | dd of=/dev/lab1 bs=4096 seek=$marks conv=notrunc,fsync 2>/dev/null || exit 1
    marks=$((marks + 1))
}

# The content says which copy it is, in every line.
fill() {
    yes "copy $1" | head -c $2 > "$3"
}

tree() {
    rm -rf /dev/shm/tree
    mkdir -p /dev/shm/tree/sub/deeper
    fill $1 @SIZE@ /dev/shm/tree/first
    fill $1 5000 /dev/shm/tree/sub/second
    fill $1 100 /dev/shm/tree/sub/deeper/third
    : > /dev/shm/tree/empty
    ln -s sub/second /dev/shm/tree/link
    chmod 640 /dev/shm/tree/first
    find /dev/shm/tree -exec touch -h -d @1000000000 {} +
}

# One variant, one round: over an old file and to a new name, or a tree.
copy() {
    case $1 in
        plain) options= ;;
        fsync | tree-fsync) options=--fsync ;;
        atomic) options=--atomic ;;
        both | tree-both) options="--atomic --fsync" ;;
    esac
    case $1 in
        tree-*) mmapcp -a $options /dev/shm/tree /disk/$1/tree-$2 ;;
        *) mmapcp $options /dev/shm/source /disk/$1/over && mmapcp $options /dev/shm/source /disk/$1/new-$2 ;;
    esac
}

mount -t @FS@ /dev/lab0 /disk || exit 1
fill 0 @SIZE@ /dev/shm/source
for variant in $variants; do
    mkdir /disk/$variant
    cp /dev/shm/source /disk/$variant/over
done
sync
mark ready all 0

n=1
while [ $n -le $rounds ]; do
    fill $n @SIZE@ /dev/shm/source
    tree $n
    for variant in $variants; do
        mark begin $variant $n
        @BREAK@ copy $variant $n || exit 1
        mark done $variant $n
        @REST@
    done
    n=$((n + 1))
done
