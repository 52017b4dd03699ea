#!/usr/bin/env bash
# Feeds damaged files to every parser of files that come from strangers.
#
#   tools/fuzz.sh [SECONDS] [NAME]...
#
# Builds the preset fuzz and runs each target (or those NAMEd: tests/fuzz/fuzz_NAME.c) for SECONDS, 60
# unless told, as many at a time as there are cores. The files that it begins with are in
# tests/fuzz/seeds/NAME; what it found on the way is kept in build/fuzz/corpus/NAME and used again.
# Prints one line a target. A finding (a crash, a sanitizer's message, a leak, more than 10 seconds or
# 2 GiB for one input) is a file in build/fuzz/findings, and the exit status is 1.
set -uo pipefail
exec </dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
cd "$root" || exit 1

seconds=60
if [[ ${1-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi

{ cmake --preset fuzz || cmake --fresh --preset fuzz; } >/dev/null || exit 1
cmake --build --preset fuzz || exit 1

names=("$@")
if [ ${#names[@]} = 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        names+=("${name%.c}")
    done
fi

# run NAME: fuzzes one target; its last line says what came of it.
run() {
    local name=$1 corpus=build/fuzz/corpus/$1 log=build/fuzz/$1.log status runs
    local program=build/fuzz/tests/fuzz/fuzz_$name seeds=()
    mkdir -p "$corpus" build/fuzz/findings
    [ ! -d "tests/fuzz/seeds/$name" ] || seeds=("tests/fuzz/seeds/$name")
    UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
        "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$name-" \
        "$corpus" "${seeds[@]}" >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$status" = 0 ]; then
        echo "fuzz $name: ${runs:-?} inputs in $seconds s, no finding"
        return 0
    fi
    tail -n 40 "$log"
    echo "fuzz $name: a finding, see build/fuzz/findings and $log"
    return 1
}

cores=$(nproc 2>/dev/null || echo 1)
failed=0 running=0
for name in "${names[@]}"; do
    if [ "$running" -ge "$cores" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    run "$name" &
    running=$((running + 1))
done
for ((; running > 0; running--)); do wait -n || failed=1; done
exit "$failed"
