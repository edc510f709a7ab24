#!/bin/sh
# down.sh: end Mizzen and the lab, however they were started or killed. The Git
# repositories stay for the next `make up`; `bin/lab down --purge` removes
# them and all else.
set -eu
cd "$(dirname "$0")/.."
MIZZEN_LAB=${MIZZEN_LAB:-$PWD/.lab}
export MIZZEN_LAB
[ -e "$MIZZEN_LAB" ] || exit 0
[ -x bin/lab ] || { echo "down: bin/lab is missing; build it with 'make lab'" >&2; exit 2; }
bin/lab down
rm -f "$MIZZEN_LAB/kubeconfig"
