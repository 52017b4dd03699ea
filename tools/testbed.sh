#!/usr/bin/env bash
# Makes Vulkan drivers available that need no GPU, and runs programs on them: drivers that execute on
# the CPU, and drivers of real GPUs that compile with the vendor's compiler and execute nothing.
#
#   tools/testbed.sh [FOLDER]                 makes every driver (160 MB to load, 700 MB on disk)
#   tools/testbed.sh make DRIVER...           makes these alone
#   tools/testbed.sh list                     what there is
#   tools/testbed.sh run DRIVER COMMAND...    runs a command on a driver
#
# They lie in FOLDER, else in $STRATA_TESTBED, else in build/testbed. Each but the last command prints
# a line for a driver:
#
#   NAME executes|compiles ready|absent TEXT  TEXT: the driver's version, or why it cannot be had
#
# Exit status: 1 where a driver that was to be made is absent, 2 usage, 3 `run` of an absent driver.
#
# Packages of Debian's suites are unpacked into the folder, by an apt-get whose lists, state and cache
# are there as well; the mirror is the one that this machine's apt is configured for. Nothing is
# installed, nothing of the machine is changed, and no root is needed. `run` lays a suite's libraries
# over the machine's own (newer ones win, what the suite lacks stays) in a mount namespace of its own,
# which ends with the command: programs built here run with the C library, the Vulkan loader, the
# validation layer and the drivers of that suite, and see every other file as it is.
# Safe to interrupt and to repeat: a suite is made beside its place, then renamed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# name, what it does, where it comes from, the ICD file's name
readonly DRIVERS="
lavapipe-22  executes host        lvp_icd
lavapipe-25  executes backports   lvp_icd
lavapipe-26  executes forky       lvp_icd
swiftshader  executes swiftshader vk_swiftshader_icd
polaris10    compiles forky       radeon_icd
vega20       compiles forky       radeon_icd
navi21       compiles forky       radeon_icd
navi31       compiles forky       radeon_icd
gfx1201      compiles forky       radeon_icd
nvk-turing   compiles forky       nouveau_icd
nvk-ampere   compiles forky       nouveau_icd
adreno630    compiles forky       freedreno_icd
apple-m1     compiles forky       asahi_icd
"

fail() {
    local status=$1
    shift
    echo "testbed.sh: $*" >&2
    exit "$status"
}

usage() {
    fail 2 "usage: tools/testbed.sh [FOLDER] | make DRIVER... | list | run DRIVER COMMAND..."
}

# The line of DRIVERS for a name, as kind, source and icd.
find_driver() {
    read -r kind source icd < <(awk -v name="$1" '$1 == name { print $2, $3, $4 }' <<<"$DRIVERS") ||
        fail 2 "no driver '$1': $(names | tr "\n" " ")"
}

names() {
    awk 'NF { print $1 }' <<<"$DRIVERS"
}

# ---- making ------------------------------------------------------------------------------------

# Debian's archive as this machine's apt knows it: the address of its main component.
mirror() {
    local codename=
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}") || true
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v codename="$codename" '
            $2 == "main" && ($1 == codename || $1 ~ /^(old)*stable$|^testing$|^sid$|^unstable$/) {
                print $3
                exit
            }'
}

# apt-get with the sources in $work/sources.list and everything else of its own in $work, too. The
# machine's settings (proxies, certificates) hold, but for preferences among versions.
private_apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 -o APT::Sandbox::User= \
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State="$work/state" -o Dir::State::Status="$work/status" \
        -o Dir::Cache="$work/cache" -o APT::Install-Recommends=false \
        -o Debug::NoLocking=true "$@" </dev/null >&2
}

# sources SUITE...: what the private apt-get reads.
sources() {
    local address suite keys=/usr/share/keyrings/debian-archive-keyring.gpg option=
    address=$(mirror)
    [ -n "$address" ] || { reason="apt is not configured for an archive of Debian's"; return 1; }
    [ ! -s "$keys" ] || option="[signed-by=$keys]"
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
    touch "$work/status"
    for suite in "$@"; do echo "deb $option $address $suite main"; done >"$work/sources.list"
    private_apt update && return
    reason="apt-get could not load the lists of: $*"
    return 1
}

# Unpacks all packages in a folder into $work/tree. Those of Debian 12 still tell /lib from /usr/lib.
unpack() {
    local package
    mkdir -p "$work/tree/usr/lib"
    ln -s usr/lib "$work/tree/lib"
    for package in "$1"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar -x --keep-directory-symlink --no-same-owner -C "$work/tree" || return
    done
}

# What $work/tree/version says of the package.
note_version() {
    local package version
    package=$(find "$1" -name "$2_*.deb" -print -quit)
    version=$(dpkg-deb -f "$package" Version) && echo "$3 $version" >"$work/tree/version"
}

# make_suite SUITES PACKAGE...: the packages, preferably of the last suite, with all they depend on.
make_suite() {
    local suites=$1
    shift
    sources $suites || return
    private_apt --download-only --target-release "${suites##* }" install "$@" ||
        { reason="apt-get could not load: $* ($suites)"; return 1; }
    unpack "$work/cache/archives" && note_version "$work/cache/archives" mesa-vulkan-drivers Mesa ||
        { reason="packages that cannot be unpacked: $* ($suites)"; return 1; }
}

make_backports() {
    make_suite "bookworm bookworm-backports" libvulkan1 vulkan-validationlayers mesa-vulkan-drivers
}

make_forky() {
    make_suite forky libvulkan1 vulkan-validationlayers mesa-vulkan-drivers mesa-drm-shim
}

# Out of a browser that carries it; what else the browser needs is not loaded.
make_swiftshader() {
    local file
    sources bookworm || return
    mkdir "$work/archives"
    (cd "$work/archives" && private_apt download chromium-common) ||
        { reason="apt-get could not load: chromium-common"; return 1; }
    reason="the package chromium-common holds no SwiftShader"
    unpack "$work/archives" && mv "$work/tree" "$work/all" && mkdir "$work/tree" &&
        note_version "$work/archives" chromium-common "of Chromium" || return
    for file in libvk_swiftshader.so vk_swiftshader_icd.json; do # which names the library beside it
        find "$work/all" -name "$file" -type f -exec mv -t "$work/tree" {} + &&
            [ -s "$work/tree/$file" ] || return
    done
}

# Makes a suite's folder unless it is there. Leaves in `reason` why not.
make_source() {
    local source=$1
    [ "$source" != host ] && [ ! -e "$folder/$source/version" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        { reason="not a Debian-like system (no apt-get)"; return 1; }
    mkdir -p "$folder" || { reason="cannot make $folder"; return 1; }
    exec 9>"$folder/lock" && flock 9 || { reason="cannot lock $folder"; return 1; }
    [ ! -e "$folder/$source/version" ] || return 0 # made while we waited
    rm -rf "$folder"/.part.*
    work=$(mktemp -d "$folder/.part.XXXXXX")
    chmod 755 "$work"
    echo "testbed.sh: making $source" >&2
    "make_$source" && rm -rf "${folder:?}/$source" && mv "$work/tree" "$folder/$source"
    local status=$?
    rm -rf "$work"
    exec 9>&-
    return $status
}

# make_drivers NAME...: prints their lines; fails where one is absent.
make_drivers() {
    local name status=0 kind source icd reason
    declare -A reasons
    trap 'rm -rf "$folder"/.part.*' EXIT
    trap 'exit 130' INT TERM HUP
    for name in "$@"; do
        find_driver "$name"
        reason=
        [ -n "${reasons[$source]-}" ] || make_source "$source" || reasons[$source]=$reason
        driver_line "$name" "${reasons[$source]-}" || status=1
    done
    return $status
}

# ---- what there is -----------------------------------------------------------------------------

host_icd() {
    find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name 'lvp_icd*.json' 2>/dev/null | sort | head -n 1
}

# Leaves in `text` the version, or why the driver that find_driver found cannot be used.
look_at() {
    if [ "$source" = host ]; then
        text="Mesa $(dpkg-query -W -f '${Version}' mesa-vulkan-drivers 2>/dev/null)"
        [[ $text == "Mesa 22."* ]] && [ -n "$(host_icd)" ] && return
        text="this machine's mesa-vulkan-drivers is not Debian 12's (tools/setup.sh installs it)"
        return 1
    fi
    text="tools/testbed.sh makes it"
    [ -s "$folder/$source/version" ] && text=$(cat "$folder/$source/version") || return
    [ "$source" = swiftshader ] || may_mount && return
    text="no right to mount anything (run as root, or where users may make namespaces)"
    return 1
}

# Whether `run` may lay one folder over another. Found out once.
may_mount() {
    [ -n "${mount_status-}" ] || { within forky true 2>/dev/null || within backports true 2>/dev/null
        mount_status=$?; }
    return "$mount_status"
}

# driver_line NAME [REASON]: fails where the driver is absent.
driver_line() {
    local kind source icd text
    find_driver "$1"
    if look_at; then
        printf '%-12s %s ready  %s\n' "$1" "$kind" "$text"
    else
        printf '%-12s %s absent %s\n' "$1" "$kind" "${2:-$text}"
        return 1
    fi
}

list_drivers() {
    local name
    for name in $(names); do driver_line "$name" || true; done
}

# ---- running -----------------------------------------------------------------------------------

# within SOURCE COMMAND...: runs a command in a mount namespace where the suite's libraries and its
# Vulkan files lie over the machine's. Root needs no user namespace, and has perhaps no right to one.
within() {
    local source=$1 spaces=(--mount)
    shift
    unshare --mount true 2>/dev/null || spaces+=(--map-root-user)
    [ -d "$folder/$source" ] || return
    unshare "${spaces[@]}" bash -c '
        from=$PWD
        cd "$1" || exit
        # Relative, for mount knows no way to write a colon or a comma in such a path.
        for place in usr/lib/*-linux-gnu* usr/share/vulkan; do
            mount -t overlay overlay -o "lowerdir=$place:/$place" "/$place" || exit
        done
        shift
        cd "$from" && exec "$@"' bash "$folder/$source" "$@"
}

# The variables with which a program uses the driver alone. Those of GPUs take a library that plays the
# kernel's part.
driver_variables() {
    local name=$1 shim=
    case $name in
    polaris10 | vega20 | navi21 | navi31 | gfx1201)
        variables+=("AMDGPU_GPU_ID=$name")
        shim=amdgpu
        ;;
    nvk-turing) variables+=(NOUVEAU_CHIPSET=162) shim=nouveau ;;
    nvk-ampere) variables+=(NOUVEAU_CHIPSET=172) shim=nouveau ;;
    adreno630) shim=freedreno ;;
    apple-m1) shim=asahi ;;
    esac
    # The loader's layer that sorts devices would ask a display server; the shims want a runtime folder.
    [ -z "$shim" ] || variables+=("LD_PRELOAD=lib${shim}_noop_drm_shim.so" NODEVICE_SELECT=1
        XDG_RUNTIME_DIR=/tmp)
}

run_on() {
    local name=$1 kind source icd text variables=() command
    shift
    find_driver "$name"
    look_at || fail 3 "$name is absent: $text"
    driver_variables "$name"
    command=(env -u VK_ICD_FILENAMES -u VK_ADD_DRIVER_FILES "${variables[@]}")
    case $source in
    host) exec "${command[@]}" VK_DRIVER_FILES="$(host_icd)" "$@" ;;
    swiftshader) exec "${command[@]}" VK_DRIVER_FILES="$folder/$source/$icd.json" "$@" ;;
    esac
    within "$source" "${command[@]}" VK_DRIVER_FILES="/usr/share/vulkan/icd.d/$icd.json" "$@"
}

folder=${STRATA_TESTBED:-$root/build/testbed}
verb=${1-}
case $verb in
make | list | run) shift ;;
-*) usage ;;
*)
    [ $# -le 1 ] || usage
    [ $# = 0 ] || folder=$1
    verb="make"
    set -- $(names)
    ;;
esac
case $folder in /*) ;; *) folder=$PWD/$folder ;; esac

case $verb in
make) [ $# -gt 0 ] || usage; make_drivers "$@" ;;
list) [ $# = 0 ] || usage; list_drivers ;;
run) [ $# -ge 2 ] || usage; run_on "$@" ;;
esac
