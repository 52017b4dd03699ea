#!/usr/bin/env bash
# Installs what strata needs from Debian's own packages: compiler, build tools, Vulkan loader and
# headers, shader compiler, and Mesa's Vulkan drivers, among them the one that runs on any CPU.
#
#   tools/setup.sh [--tests]           --tests: also what only the tests need
#
# Run it as root, or as a user who may use sudo. Installs only what is missing: where all is there
# it needs neither root nor network. Safe to interrupt and to repeat.
set -euo pipefail

readonly BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkgconf libvulkan-dev libvulkan-volk-dev
    libvulkan1 glslc libshaderc-dev libcjson-dev libxxhash-dev libpcre2-dev libunistring-dev
    libcmocka-dev mesa-vulkan-drivers ca-certificates
    g++ glslang-dev spirv-tools) # the last three: what libshaderc needs where it is linked static
# libasan and libubsan come with gcc.
readonly TEST_PACKAGES=(vulkan-validationlayers clang libclang-rt-dev # the last two: tools/fuzz.sh
    chromium) # opens the pages and traces of profiles

fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

# Prints those of the packages named that are not installed whole.
missing() {
    local package status
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || true
        [ "$status" = installed ] || echo "$package"
    done
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -- "$@"
    fi
}

# apt-get, without questions, waiting up to five minutes while another one holds the lock.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# A dpkg run that was cut off blocks apt-get until its packages are configured. What cannot be
# configured yet is left to apt-get. dpkg itself does not wait for its lock, so this tries again
# while another run holds it.
configure_pending() {
    local log attempt
    for attempt in $(seq 60); do
        log=$(as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a 2>&1 </dev/null) && return
        grep -q "lock" <<<"$log" || return 0
        [ "$attempt" != 1 ] || echo "setup.sh: waiting for another dpkg to end" >&2
        sleep 5
    done
}

# A package that was being unpacked when dpkg was killed is mended only by a reinstallation that
# names it, and only by one that names nothing else.
reinstall_torn() {
    local torn
    mapfile -t torn < <(dpkg-query -W -f '${db:Status-Eflag} ${binary:Package}\n' |
        sed -n 's/^reinstreq //p')
    [ ${#torn[@]} -eq 0 ] || apt -qq --reinstall install "${torn[@]}" </dev/null || true
}

wanted=("${BUILD_PACKAGES[@]}")
case "${1-}" in
"") ;;
--tests) wanted+=("${TEST_PACKAGES[@]}") ;;
*) fail "usage: tools/setup.sh [--tests]" ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "not a Debian-like system (no apt-get); install by hand what these packages hold:" \
        "${wanted[*]}"
fi
mapfile -t lacking < <(missing "${wanted[@]}")
[ ${#lacking[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fail "neither root nor sudo here; as root run: apt-get install ${lacking[*]}"
fi

echo "setup.sh: installing ${lacking[*]}" >&2
configure_pending
apt -qq update || echo "setup.sh: apt-get update failed; trying with the lists at hand" >&2
reinstall_torn
apt -qq --no-install-recommends --fix-broken install "${lacking[@]}" </dev/null ||
    fail "apt-get could not install: ${lacking[*]}"
mapfile -t lacking < <(missing "${wanted[@]}")
[ ${#lacking[@]} -eq 0 ] || fail "still not installed: ${lacking[*]}"
