#!/usr/bin/env bash
# Fine-tunes one model with each method of the paper on the same number of tokens, and prints
# validation loss and exact match of every depth as one table.
#
#   tools/compare_methods.sh tasks|stories [--steps N] [--out DIR] [--set key=value]...
#
#   tasks    assets/base on the assets' task data; the settings of assets/demo.json
#   stories  stories260K on Alpaca, from STRATA_TEST_DATA (default ../shared/data); 300 steps of 8
#
# --steps is even (default 700 and 300); --set goes to every `strata train`, such as --set seed=7.
# Results are in DIR (out/compare-tasks, out/compare-stories): a folder for each training, and
# results.jsonl, a row of the table a line. Installs what is missing and builds first. Safe to
# interrupt and to repeat: it begins anew.
set -euo pipefail
cd "$(dirname "$0")/.."
trap 'exit 130' INT TERM # an interrupted `strata train` saves what it has and ends with 0

readonly USAGE="tools/compare_methods.sh tasks|stories [--steps N] [--out DIR] [--set key=value]..."

fail() {
    echo "compare_methods.sh: $1" >&2
    exit "${2-1}"
}

# What is trained, on what: everything that differs between the two comparisons.
choose() {
    local folder=${STRATA_TEST_DATA-../shared/data}
    out=out/compare-$1
    case $1 in
    tasks)
        model=assets/base data=assets/tasks_train.json valid=assets/tasks_valid.json
        depths=(2 4 6 8) steps=700 batch=32 warmup=20
        ;;
    stories)
        model=$folder/stories260K
        data=$folder/alpaca/alpaca_train.json valid=$folder/alpaca/alpaca_valid.json
        depths=(2 3 4 5) steps=300 batch=8 warmup=10
        ;;
    *) fail "usage: $USAGE" 2 ;;
    esac
    local file
    for file in "$model/config.json" "$data" "$valid"; do
        [ -f "$file" ] || fail "$file is missing; STRATA_TEST_DATA names the folder of test data"
    done
}

parse() {
    choose "${1-}"
    shift
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || fail "usage: $USAGE" 2
        case $1 in
        --steps) steps=$2 ;;
        --out) out=$2 ;;
        --set) sets+=(--set "$2") ;;
        *) fail "usage: $USAGE" 2 ;;
        esac
        shift 2
    done
    [[ $steps =~ ^([1-9][0-9]{0,4})?[02468]$ && $steps != 0 ]] ||
        fail "--steps is $steps, expected an even number" 2
}

# The first records of the data as two files of half a training each, a record a line. Both files
# together are one epoch of all the steps, either one an epoch of half of them: so SFT and ICT in
# turn see what the other methods see, each record once.
cut_data() {
    local half=$((steps * batch / 2)) found
    found=$(awk -v half="$half" -v first="$out/first.jsonl" -v second="$out/second.jsonl" '
    /^[ \t]*"/ { record = record $0 }
    /^[ \t]*}/ {
        print "{" record "}" > (n < half ? first : second)
        record = ""
        if (++n == 2 * half) exit
    }
    END { print n + 0 }' "$data")
    [ "$found" = $((2 * half)) ] ||
        fail "$data has $found records of the $((2 * half)) that $steps steps of $batch need"
}

# train NAME METHOD MODEL STEPS DATA [--set key=value]...
train() {
    echo "compare_methods.sh: $1" >&2
    rm -rf "${out:?}/$1" # checkpoints of a run that was interrupted
    "$strata" train assets/demo.json --set out="$out/$1" --set method="$2" --set model="$3" \
        --set steps="$4" --set data="$5" --set valid="$valid" --set exits=null \
        --set batch_size="$batch" --set warmup="$warmup" "${@:6}" "${sets[@]}" >&2
    ! grep -q '"skipped":true' "$out/$1/metrics.jsonl" || fail "$1: a step was skipped"
}

# Prints the tokens that trainings NAME... saw.
tokens() {
    local name
    for name in "$@"; do cat "$out/$name/metrics.jsonl"; done |
        awk -F '"tokens":' 'NF > 1 { sum += $2 } END { printf "%d", sum }'
}

# evaluate FOLDER DEPTHS: prints the scores, JSON objects with commas between.
evaluate() {
    local line
    line=$("$strata" eval "$1" --data "$valid" --depths "$2" --json)
    line=${line#'{"depths":['}
    echo "${line%']}'}"
}

# row METHOD TIMES TOKENS SCORES, where TIMES is how often it sees the tokens of SFT.
row() {
    printf '{"method":"%s","times":%s,"tokens":%s,"depths":[%s]}\n' "$@" >>"$results"
}

train_all() {
    local both="[\"$out/first.jsonl\",\"$out/second.jsonl\"]" exits depth
    exits="[$list]"
    train sft sft "$model" "$steps" "$both"
    train sft-half sft "$model" $((steps / 2)) "$out/first.jsonl"
    train ict ict "$out/sft-half" $((steps / 2)) "$out/second.jsonl" --set exits="$exits"
    train ict-twice ict "$out/sft" "$steps" "$both" --set exits="$exits"
    for depth in "${depths[@]::${#depths[@]}-1}"; do
        train "extracted-$depth" extracted "$model" "$steps" "$both" --set depth="$depth"
    done
    train soft soft "$model" "$steps" "$both" --set exits="$exits"
}

evaluate_all() {
    local depth last=${depths[-1]} extracted=
    row "before" 0 0 "$(evaluate "$model" "$list")"
    row "SFT" 1 "$(tokens sft)" "$(evaluate "$out/sft" "$list")"
    row "SFT+ICT" 1 "$(tokens sft-half ict)" "$(evaluate "$out/ict" "$list")"
    row "SFT+ICT x2" 2 "$(tokens sft ict-twice)" "$(evaluate "$out/ict-twice" "$list")"
    for depth in "${depths[@]::${#depths[@]}-1}"; do
        extracted+=$(evaluate "$out/extracted-$depth" "$depth"),
    done
    row "extracted" 1 "$(tokens "extracted-${depths[0]}")" \
        "$extracted$(evaluate "$out/sft" "$last")" # all blocks cut out: that is SFT
    row "SoFT" 1 "$(tokens soft)" "$(evaluate "$out/soft" "$list")"
}

print_table() {
    awk '
    function value(text, key) {
        return substr(text, index(text, "\"" key "\":") + length(key) + 3) + 0
    }
    function rule(    i) {
        printf "-------------------------"
        for (i = 2; i <= n; i++) printf "+------------------"
        print ""
    }
    {
        n = split($0, score, /{"depth":/)
        split($0, text, "\"")
        if (NR == 1) {
            printf "                         "
            for (i = 2; i <= n; i++) printf "|     depth %-2d     ", score[i]
            printf "\n method          tokens  "
            for (i = 2; i <= n; i++) printf "|   loss    exact  "
            print ""
            rule()
        }
        printf " %-11s %10d  ", text[4], value($0, "tokens")
        for (i = 2; i <= n; i++)
            printf "| %7.3f  %5.1f %% ", value(score[i], "loss"), 100 * value(score[i], "exact_match")
        print ""
    }' "$out/results.jsonl"
}

# Records whose prompt alone fills the context are left out and others stand in for them, so that
# token counts may differ a little.
check_tokens() {
    awk -F '"times":|"tokens":' '
    $2 + 0 == 0 { next } # not trained
    { seen = $3 / $2 }
    !least || seen < least { least = seen }
    seen > most { most = seen }
    END {
        printf "\nTokens for the methods agree to within %.2f %%.\n", 100 * (most / least - 1)
        exit !(most <= 1.01 * least)
    }' "$out/results.jsonl" || fail "not the same number of tokens for each method"
}

print_notes() {
    cat <<END

$model, $steps steps of $batch records; held out: $valid.
before      the model that all methods begin with
SFT+ICT     half of the tokens for SFT, the other half for the heads of exits on frozen blocks
SFT+ICT x2  all tokens for SFT, as many again for the heads: the paper's way, twice the tokens
extracted   a training of so many tokens for each depth; at the last depth it is SFT
END
}

sets=()
parse "$@"
list=$(IFS=,; echo "${depths[*]}")
strata=build/release/strata results=$out/results.jsonl.part

tools/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release >&2
mkdir -p "$out"
: >"$results"
cut_data
train_all
evaluate_all
mv "$results" "$out/results.jsonl"
"$strata" devices | grep -A 1 -e '<- chosen' || true
print_table
print_notes
check_tokens
