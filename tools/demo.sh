#!/usr/bin/env bash
# The whole of strata in one command: installs what is missing, builds, fine-tunes the small base
# model of assets/ with SoFT at exits 2, 4, 6 and 8, and shows what each depth learned and what early
# exits and drafts make of it.
#
#   tools/demo.sh [--set key=value]...     what follows goes to `strata train`
#
# Safe to interrupt and to repeat: training begins anew, an older result stays until it is replaced.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release

strata=build/release/strata
"$strata" devices
began=$SECONDS
"$strata" train assets/demo.json --resume "$@" # goes on with a run that was interrupted
echo "SoFT took $((SECONDS - began)) s." >&2
build/release/demo_report assets/base out/demo assets/tasks_valid.json
printf '\nEarly exits and drafts, chosen for a loss of one point of token accuracy at most:\n'
"$strata" calibrate out/demo --data assets/tasks_valid.json --max-loss-of-accuracy 0.01
echo
echo "Try it: $strata generate out/demo --alpaca --depth all --prompt 'What is 12 plus 7?'"
