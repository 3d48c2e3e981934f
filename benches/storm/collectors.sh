#!/bin/sh
# collectors.sh TOOL SOURCES DEST LOG SMALL: starts one collector for each file of SOURCES at once, and writes to LOG when each copy is durable.
# SMALL is copied to DEST at the end, as whoever started this script expects a copy there.
tool=$1 sources=$2 dest=$3 log=$4 small=$5
kept=$dest.storm
mkdir "$kept" || exit
begun=$(date +%s%N)

collect() {
    case $tool in
    cp) cp "$1" "$kept/" && sync "$kept/${1##*/}" ;;
    *) $tool "$1" "$kept/" ;;
    esac
    echo "$tool ${1##*/} $? $((($(date +%s%N) - begun) / 1000000))" >> "$log"
}

for file in "$sources"/*; do
    collect "$file" &
done
wait
# Its second line has the CPU time of the collectors; in a pipe it would be that of another shell.
times > "$log.times"
status=0
for file in "$sources"/*; do
    cmp -s "$file" "$kept/${file##*/}" || { echo "$tool ${file##*/} differs 0" >> "$log"; status=1; }
done
echo "$tool times $(tail -n 1 "$log.times" | tr ' ' '+') 0" >> "$log"
rm -r "$kept"
cp "$small" "$dest"
exit $status
