#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests.
#
#   tools/test.sh [--quick] [CTEST ARGUMENT]...
#
# Five parts, each on CPU drivers, so that no GPU is needed and every machine tests the same:
#   debug       all tests under the validation layer with synchronisation validation, on lavapipe
#   sanitize    all tests under AddressSanitizer and UndefinedBehaviorSanitizer, on lavapipe
#   width-N     the GPU tests on lavapipe with vectors of 128, 256 and 512 bits
#               (subgroups of 4, 8 and 16)
#   swiftshader the GPU tests on SwiftShader, a minimal driver
#   fuzz        a minute of damaged input for each parser (tools/fuzz.sh), each counted as one test
# --quick runs the first part alone. Other arguments go to every ctest, such as -R NAME.
# A failure does not stop the parts behind it. The last line is the sum over all parts, counted in
# single tests; logs and JUnit files are in build/test. Exit status 1 where anything failed.
set -uo pipefail
exec </dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
cd "$root" || exit 1

passed=0 failed=0 skipped=0

heading() {
    printf '\n==== %s\n' "$*"
}

# A part that could not even start counts as one failure.
fail_part() {
    echo "test.sh: $*"
    failed=$((failed + 1))
}

# What would make the tests run on something other than what the part says.
unset STRATA_DEVICE STRATA_SHADER_DIR LP_NATIVE_VECTOR_WIDTH VK_INSTANCE_LAYERS VK_DRIVER_FILES \
    VK_ADD_DRIVER_FILES VK_LOADER_DRIVERS_SELECT VK_LOADER_DRIVERS_DISABLE CTEST_PARALLEL_LEVEL

jobs=$(nproc 2>/dev/null || echo 2)
test_jobs=$((jobs < 2 ? jobs : 2)) # the CPU drivers use all cores by themselves

# Sums a JUnit file of ctest as "passed failed skipped". A program of the tests reports its single
# tests as cmocka does; one that does not (a crash, a time-out, a script) counts as one.
sum_junit() {
    awk '
    function number(line) { sub(/.*\] */, "", line); return line + 0 }
    /<testcase / {
        status = $0
        sub(/.* status="/, "", status)
        sub(/".*/, "", status)
        ok = bad = left_out = 0
    }
    # A program that was not found is "notrun" as well, with another message.
    /<skipped message="SKIP_/ { status = "skipped" }
    /\[  PASSED  \] [0-9]+ test\(s\)/ { ok += number($0) }
    /\[  FAILED  \] [0-9]+ test\(s\)/ { bad += number($0) }
    /\[  SKIPPED \] [0-9]+ test\(s\)/ { left_out += number($0) }
    /<\/testcase>/ {
        if (status == "run" && ok + left_out == 0) ok = 1
        if ((status == "fail" || status == "notrun") && bad == 0) bad = 1
        if ((status == "skipped" || status == "disabled") && left_out == 0) left_out = 1
        passed += ok; failed += bad; skipped += left_out
    }
    END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# build PRESET: configures and builds. A build folder that cmake will not go on with (copied from
# elsewhere, cut off) is configured afresh.
build() {
    heading "build $1"
    { cmake --preset "$1" || cmake --fresh --preset "$1"; } >"$logs/configure-$1.log" 2>&1 ||
        { cat "$logs/configure-$1.log"; fail_part "cannot configure preset $1"; return 1; }
    cmake --build --preset "$1" || { fail_part "cannot build preset $1"; return 1; }
}

# run_part NAME PRESET DRIVER TEXT [CTEST ARGUMENT]...: runs the tests of a build on a driver, given
# by its ICD file, and adds them up. Caches are kept, because compiling the kernels takes a CPU driver
# minutes, but apart for each vector width: Mesa 22.3 takes a kernel from its cache even where it was
# compiled for another width, and the part would test that one. 256 bits are the default.
run_part() {
    local name=$1 preset=$2 driver=$3 text=$4 junit=$logs/$1.xml status sums
    shift 4
    heading "$name: $text"
    rm -f "$junit"
    VK_ICD_FILENAMES=$driver XDG_CACHE_HOME=$logs/cache-${LP_NATIVE_VECTOR_WIDTH-256} \
        ctest --test-dir "build/$preset" -j "$test_jobs" --output-on-failure \
        --test-output-size-passed 10000000 --test-output-size-failed 10000000 \
        --output-junit "$junit" --no-tests="$no_tests" "$@" "${ctest_arguments[@]}"
    status=$?
    sums=(0 0 0)
    [ ! -f "$junit" ] || read -r -a sums < <(sum_junit "$junit")
    printf '%s: %d passed, %d failed, %d skipped\n' "$name" "${sums[@]}"
    passed=$((passed + sums[0])) failed=$((failed + sums[1])) skipped=$((skipped + sums[2]))
    if [ "$status" != 0 ] && [ "${sums[1]}" = 0 ]; then
        fail_part "$name: ctest ended with status $status"
    fi
}

swiftshader_part() {
    local driver
    if driver=$(tools/swiftshader.sh "$root/build/swiftshader"); then
        run_part swiftshader debug "$driver" "GPU tests on SwiftShader" -L '^gpu$'
    else
        heading "swiftshader"
        echo "swiftshader: skipped, because SwiftShader cannot be had here (see above)"
        skipped=$((skipped + 1))
    fi
}

# A minute of damaged input for each parser: a line "fuzz NAME: ..." each.
fuzz_part() {
    local log=$logs/fuzz.log good bad
    heading "fuzz: a minute of damaged input for each parser"
    tools/fuzz.sh 60 >"$log" 2>&1
    local status=$?
    good=$(grep -c '^fuzz .* no finding$' "$log")
    bad=$(grep -c '^fuzz .* a finding' "$log")
    grep '^fuzz ' "$log"
    printf 'fuzz: %d passed, %d failed, 0 skipped\n' "$good" "$bad"
    passed=$((passed + good)) failed=$((failed + bad))
    if [ "$status" != 0 ]; then
        tail -n 60 "$log"
        [ "$bad" != 0 ] || fail_part "tools/fuzz.sh ended with status $status"
    fi
}

run_all() {
    local driver width debug_built=0
    driver=$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name 'lvp_icd*.json' 2>/dev/null |
        sort | head -n 1)
    [ -n "$driver" ] || { fail_part "no lavapipe (Mesa's Vulkan driver for CPUs) here"; return; }
    if build debug; then
        debug_built=1
        run_part debug debug "$driver" "all tests, validation layer on"
    fi
    [ "$quick" = 0 ] || return
    if build sanitize; then
        run_part sanitize sanitize "$driver" "all tests, ASan and UBSan on"
    fi
    [ "$debug_built" = 1 ] || return
    for width in 128 256 512; do
        LP_NATIVE_VECTOR_WIDTH=$width run_part "width-$width" debug "$driver" \
            "GPU tests with vectors of $width bits" -L '^gpu$'
    done
    swiftshader_part
    [ ${#ctest_arguments[@]} != 0 ] || fuzz_part
}

trap 'exit 130' INT TERM
quick=0
ctest_arguments=()
for argument in "$@"; do
    if [ "$argument" = --quick ]; then quick=1; else ctest_arguments+=("$argument"); fi
done
# A selection may leave a part without tests; all the tests being gone is a failure.
no_tests=error
[ ${#ctest_arguments[@]} = 0 ] || no_tests=ignore

logs=$root/build/test
if ! mkdir -p "$logs"; then
    fail_part "cannot make $logs"
elif tools/setup.sh --tests; then
    run_all
else
    fail_part "tools/setup.sh failed"
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
