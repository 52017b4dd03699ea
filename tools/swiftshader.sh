#!/usr/bin/env bash
# Makes SwiftShader available: a second, minimal Vulkan driver on the CPU, for the tests. It is
# taken out of Debian's chromium-common package; nothing is installed and no root is needed.
#
#   tools/swiftshader.sh [FOLDER]      FOLDER: where to keep it (default: build/swiftshader)
#
# Prints the path of the driver's ICD file, for VK_ICD_FILENAMES. All else goes to stderr.
# Does nothing where it is there already. Exit status 1 with one line where it cannot be had.
set -euo pipefail

readonly PACKAGE=chromium-common
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "swiftshader.sh: $*" >&2
    exit 1
}

# The package, into the current folder. apt's download user has no access there; as root it would
# only warn about that, so root downloads itself. A machine that has never run apt-get update knows
# no packages; there a second try after an update is worth it, where we may.
download() {
    local command=(apt-get -qq -o APT::Sandbox::User=root)
    "${command[@]}" download "$PACKAGE" >&2 && return
    [ "$(id -u)" = 0 ] || return
    "${command[@]}" -o DPkg::Lock::Timeout=300 update >&2 || true
    "${command[@]}" download "$PACKAGE" >&2
}

# Unpacks the package in $1 and leaves driver/ there: the library and its ICD file, which names the
# library by its path in the final folder $2.
unpack() {
    local work=$1 final=$2 library icd
    dpkg -x "$work"/"$PACKAGE"_*.deb "$work/package" || return
    library=$(find "$work/package" -name libvk_swiftshader.so -type f -print -quit)
    icd=$(find "$work/package" -name vk_swiftshader_icd.json -type f -print -quit)
    [ -n "$library" ] && [ -n "$icd" ] || return
    mkdir "$work/driver"
    mv "$library" "$work/driver/libvk_swiftshader.so"
    # The file is one JSON object with one library_path; the path is escaped for JSON, then for sed.
    local path=$final/libvk_swiftshader.so
    path=$(sed -e 's/[\\"]/\\&/g' -e 's/[\\&|]/\\&/g' <<<"$path")
    sed "s|\"library_path\": *\"[^\"]*\"|\"library_path\": \"$path\"|" "$icd" \
        >"$work/driver/vk_swiftshader_icd.json"
    grep -q "libvk_swiftshader.so" "$work/driver/vk_swiftshader_icd.json"
}

folder=${1:-$root/build/swiftshader}
mkdir -p "$(dirname "$folder")" || fail "cannot make the folder of $folder"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")
icd=$folder/vk_swiftshader_icd.json

# The ICD file names the library by its full path, so a folder that was moved is made again.
if [ -s "$folder/libvk_swiftshader.so" ] && [ -s "$icd" ] &&
    grep -qF "\"$folder/libvk_swiftshader.so\"" "$icd"; then
    echo "$icd"
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    fail "needs apt-get and dpkg: SwiftShader comes from Debian's package $PACKAGE"
fi

rm -rf "$folder".part.*
work=$(mktemp -d "$folder.part.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
(cd "$work" && download) || fail "apt-get could not download $PACKAGE: no SwiftShader"
unpack "$work" "$folder" || fail "the package $PACKAGE holds no SwiftShader"
rm -rf "$folder"
mv "$work/driver" "$folder"
echo "$icd"
