#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests.
#
#   tools/test.sh [--quick | --matrix[=DRIVER,...]] [CTEST ARGUMENT]...
#
# Five parts, each on CPU drivers, so that no GPU is needed and every machine tests the same:
#   debug       all tests under the validation layer with synchronisation validation, on lavapipe with
#               vectors of 256 bits (subgroups of 8)
#   sanitize    all tests under AddressSanitizer and UndefinedBehaviorSanitizer, on lavapipe
#   width-N     the GPU tests on lavapipe with vectors of 128 and 512 bits (subgroups of 4 and 16)
#   swiftshader the GPU tests on SwiftShader, a minimal driver
#   fuzz        a minute of damaged input for each parser (tools/fuzz.sh), each counted as one test
# --quick runs the first part alone. --matrix runs other parts: the GPU tests of the debug build, and those
# of reports, on each driver that tools/testbed.sh has and that executes, and all pipelines compiled on
# each that only compiles, or these on the DRIVERs alone; it ends with a table. Other arguments go to
# every ctest, such as -R NAME.
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

# on DRIVER COMMAND...: runs a command on this machine's lavapipe ("stock") or on one of the testbed's.
on() {
    local driver=$1
    shift
    if [ "$driver" = stock ]; then
        VK_ICD_FILENAMES=$stock "$@"
    else
        tools/testbed.sh run "$driver" "$@"
    fi
}

# run_part NAME PRESET DRIVER TEXT [CTEST ARGUMENT]...: runs the tests of a build on a driver and adds
# them up; `sums` keeps the sums. Caches are kept, because compiling the kernels takes a CPU driver
# minutes, but apart for each driver and vector width: Mesa 22.3 takes a kernel from its cache even
# where it was compiled for another width, and the part would test that one.
run_part() {
    local name=$1 preset=$2 driver=$3 text=$4 junit=$logs/$1.xml status begin=$SECONDS
    shift 4
    heading "$name: $text"
    rm -f "$junit"
    XDG_CACHE_HOME=$logs/cache-$driver-${LP_NATIVE_VECTOR_WIDTH-} \
        on "$driver" ctest --test-dir "build/$preset" -j "$test_jobs" --output-on-failure \
        --test-output-size-passed 10000000 --test-output-size-failed 10000000 \
        --output-junit "$junit" --no-tests="$no_tests" "$@" "${ctest_arguments[@]}"
    status=$?
    sums=(0 0 0)
    [ ! -f "$junit" ] || read -r -a sums < <(sum_junit "$junit")
    printf '%s: %d passed, %d failed, %d skipped in %d s\n' "$name" "${sums[@]}" $((SECONDS - begin))
    passed=$((passed + sums[0])) failed=$((failed + sums[1])) skipped=$((skipped + sums[2]))
    if [ "$status" != 0 ] && [ "${sums[1]}" = 0 ]; then
        fail_part "$name: ctest ended with status $status"
    fi
}

swiftshader_part() {
    if tools/testbed.sh make swiftshader; then
        run_part swiftshader debug swiftshader "GPU tests on SwiftShader" -L '^gpu$'
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

# ---- the matrix --------------------------------------------------------------------------------

# row DRIVER SUBGROUP VERSION RESULT...: of the table.
row() {
    local driver=$1 subgroup=$2 version=$3
    shift 3
    rows+=("$(printf '%-16s %8s  %-38s  %s' "$driver" "$subgroup" "$version" "$*")")
}

# The subgroup's size as strata sees it on the driver.
subgroup_of() {
    on "$1" build/debug/strata devices 2>/dev/null | sed -n 's/.* subgroup \([0-9]*\),.*/\1/p'
}

# matrix_tests DRIVER VERSION [WIDTH]
matrix_tests() {
    local driver=$1 version=$2 name=$1
    if [ $# = 3 ]; then
        name=$driver-$3
        local -x LP_NATIVE_VECTOR_WIDTH=$3
    fi
    run_part "$name" debug "$driver" "GPU tests and reports" -L '^(gpu|report)$'
    row "$name" "$(subgroup_of "$driver")" "$version" \
        "${sums[0]} passed, ${sums[1]} failed, ${sums[2]} skipped"
}

# matrix_compile DRIVER VERSION: counts as one test. Turnip takes minutes and gigabytes for variants of
# the largest kernels that strata does not choose there; they are left out.
matrix_compile() {
    local table=$logs/$1.csv log=$logs/$1.log status compiled refused which=(--all)
    [ "$1" != adreno630 ] || which=()
    heading "$1: every pipeline compiled"
    MESA_SHADER_CACHE_DISABLE=true on "$1" build/debug/strata profile static --csv "${which[@]}" \
        >"$table" 2>"$log"
    status=$?
    compiled=$(($(wc -l <"$table") - 1)) refused=$(grep -c '; refused with constants ' "$log")
    row "$1" "$(subgroup_of "$1")" "$2" "$compiled pipelines compiled, $refused refused"
    printf '%s: %d pipelines compiled, %d refused\n' "$1" "$compiled" "$refused"
    if [ "$status" = 0 ] && [ "$compiled" -gt 0 ]; then
        passed=$((passed + 1))
    else
        grep -v '^Unknown ' "$log"
        fail_part "$1: strata profile static ended with status $status"
    fi
}

matrix() {
    local name kind state text width known rows=()
    known=$(tools/testbed.sh list)
    for name in ${drivers//,/ }; do
        grep -q "^$name " <<<"$known" && continue
        fail_part "no driver '$name'; tools/testbed.sh list names them"
        return
    done
    build debug || return
    tools/testbed.sh || true
    while read -r name kind state text; do
        [ -z "$drivers" ] || [[ ,$drivers, = *,$name,* ]] || continue
        if [ "$state" = absent ]; then
            heading "$name"
            echo "$name: skipped: $text"
            skipped=$((skipped + 1))
            row "$name" - - "skipped: $text"
        elif [ "$kind" = compiles ]; then
            matrix_compile "$name" "$text"
        elif [ "$name" = lavapipe-22 ]; then
            for width in 128 256 512; do matrix_tests "$name" "$text" "$width"; done
        else
            matrix_tests "$name" "$text"
        fi
    done < <(tools/testbed.sh list)
    heading "matrix"
    row DRIVER SUBGROUP VERSION RESULT
    printf '%s\n' "${rows[-1]}" "${rows[@]:0:${#rows[@]}-1}"
}

run_all() {
    local width debug_built=0 stock
    stock=$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name 'lvp_icd*.json' 2>/dev/null |
        sort | head -n 1)
    [ -n "$stock" ] || { fail_part "no lavapipe (Mesa's Vulkan driver for CPUs) here"; return; }
    if build debug; then
        debug_built=1
        LP_NATIVE_VECTOR_WIDTH=256 run_part debug debug stock \
            "all tests, validation layer on, vectors of 256 bits"
    fi
    [ "$mode" != quick ] || return
    if build sanitize; then
        LP_NATIVE_VECTOR_WIDTH=256 run_part sanitize sanitize stock "all tests, ASan and UBSan on"
    fi
    [ "$debug_built" = 1 ] || return
    for width in 128 512; do
        LP_NATIVE_VECTOR_WIDTH=$width run_part "width-$width" debug stock \
            "GPU tests with vectors of $width bits" -L '^gpu$'
    done
    swiftshader_part
    [ ${#ctest_arguments[@]} != 0 ] || fuzz_part
}

trap 'exit 130' INT TERM
mode=all drivers=
ctest_arguments=()
for argument in "$@"; do
    case $argument in
    --quick | --matrix) mode=${argument#--} ;;
    --matrix=*) mode=matrix drivers=${argument#*=} ;;
    *) ctest_arguments+=("$argument") ;;
    esac
done
# A selection may leave a part without tests; all the tests being gone is a failure.
no_tests=error
[ ${#ctest_arguments[@]} = 0 ] || no_tests=ignore

logs=$root/build/test
if ! mkdir -p "$logs"; then
    fail_part "cannot make $logs"
elif ! tools/setup.sh --tests; then
    fail_part "tools/setup.sh failed"
elif [ "$mode" = matrix ]; then
    matrix
else
    run_all
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
