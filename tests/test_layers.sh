#!/usr/bin/env bash
# Checks the layering and the style of the sources that no compiler checks: who includes whom, the
# length of files and functions, and that no file names a folder of somebody's machine. Not a
# formatter. One line for each violation; exit status 1 where there is one.
#
# A function that is a table or a straight recording may be longer than the limit where the line
# above it says why:  // long: the reason
set -euo pipefail
export LC_ALL=C

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Every file of the repository, tracked or new; without git, everything but what is built.
list_files() {
    if [ -e .git ] && git ls-files --cached --others --exclude-standard 2>/dev/null; then
        return
    fi
    find . \( -path ./.git -o -path ./build -o -path ./out \) -prune -o -type f -print |
        sed 's|^\./||'
}

mapfile -t all < <(list_files | sort -u | while IFS= read -r file; do
    [ ! -f "$file" ] || printf '%s\n' "$file"
done)
sources=() texts=()
for file in "${all[@]}"; do
    case $file in
    *.c | *.h | *.comp | *.glsl) sources+=("$file") texts+=("$file") ;;
    *.sh | *.py | *.cmake | CMakeLists.txt | */CMakeLists.txt | .ci/run) texts+=("$file") ;;
    esac
done
[ ${#sources[@]} -gt 0 ] || { echo "test_layers.sh: found no sources in $PWD"; exit 1; }

# The layers, each with those it may include besides itself. infer and train stand side by side;
# shaders/ is args.h, the sizes that C and GLSL share.
check_includes() {
    awk '
    BEGIN {
        allowed["base"] = ""
        allowed["text"] = "base"
        allowed["gpu"] = "base shaders"
        allowed["ops"] = "base gpu shaders"
        allowed["model"] = "base gpu ops shaders"
        allowed["infer"] = allowed["train"] = "base gpu ops model text shaders"
        allowed["reference"] = "base gpu ops shaders"
        allowed["profile"] = "base gpu ops reference shaders"
        allowed["shaders"] = ""
        allowed["tools"] = allowed["tests"] = \
            "base text gpu ops model infer train reference profile shaders"
        # They read and write tokenizers.
        extra["host/model/llama2c.c"] = extra["host/model/hf_folder.c"] = "text"
        extra["host/model/gguf_tokenizer.h"] = extra["host/model/gguf_tokenizer.c"] = "text"
    }
    # The layer of a path relative to the root, to host/, or with leading "../".
    function layer(path,   parts) {
        while (sub(/^(\.\.\/|host\/)/, "", path)) {}
        split(path, parts, "/")
        return parts[1] == "support" ? "tests" : parts[1]
    }
    function complain(text) { print FILENAME ":" FNR ": " text }
    function may(from, to) {
        return from == to || index(" " allowed[from] " " extra[FILENAME] " ", " " to " ")
    }
    FNR == 1 { own = layer(FILENAME) }
    !/^[ \t]*#[ \t]*include[ \t]*[<"]/ { next }
    {
        target = $0
        sub(/^[^<"]*[<"]/, "", target)
        sub(/[>"].*/, "", target)
    }
    target ~ /^(volk|vulkan|shaderc)[.\/]/ && own != "gpu" && FILENAME !~ /^tests\/support\/layer\// {
        complain("only host/gpu may include " target)
    }
    target ~ /cJSON\.h$/ && FILENAME != "host/base/json.h" {
        complain("cJSON is included through base/json.h only, not as " target)
    }
    /include[ \t]*"/ {
        other = target ~ /\// ? layer(target) : own # a neighbour in the same folder
        if (target == "kernels.h") other = "gpu" # generated; the enumerators of the kernels
        if (!(own in allowed)) complain("unknown layer " own)
        else if (!(other in allowed)) complain("include of " target " belongs to no layer")
        else if (!may(own, other)) complain(own " may not include " target)
        else if (target ~ /\/([a-z0-9_]*_)?internal\.h$/ && own != other && own != "tests")
            complain(target " is private to " other)
    }' "$@"
}

check_lengths() {
    awk '
    function finish() {
        if (lines > 600) print name ":" lines ": file of " lines " lines, at most 600"
    }
    FNR == 1 { if (name) finish(); name = FILENAME; start = 0; excused = 0
               code = name ~ /\.(c|h|comp|glsl)$/ }
    { lines = FNR }
    !code { next }
    /^\/\/ long: ./ { excused = 1 }
    /^{/ || /^[A-Za-z].*\) *{$/ { if (!start) start = FNR }
    /^}/ {
        if (start && FNR - start + 1 > 80 && !excused)
            print name ":" start ": function of " FNR - start + 1 " lines, at most 80"
        start = 0; excused = 0
    }
    /^$/ && !start { excused = 0 }
    END { finish() }' "$@"
}

# Folders that exist on one machine only. Brackets keep the pattern from finding itself.
check_paths() {
    grep -InE '(^|[^[:alnum:]_.)}$-])/(work|root|home)($|[^[:alnum:]_-])' -- "$@" |
        sed 's/^\([^:]*:[0-9]*\):.*/\1: absolute path of one machine/' || true
}

violations=$(
    check_includes "${sources[@]}"
    check_lengths "${texts[@]}"
    check_paths "${all[@]}"
)
[ -z "$violations" ] || { printf '%s\n' "$violations"; exit 1; }
