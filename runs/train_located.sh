#!/usr/bin/env bash
# Train the micro-LoRAs of the first checkpoint further, for a memory with a token router: with the answer's place told,
# then with what the token router finds, then with four more layers. The checkpoint in the package came of these runs.
#
#     runs/train_located.sh DATA [MORE OPTIONS OF pmem train hypernetwork]
#
# DATA is a folder with the files of training/data.py's DEFAULT_MIXTURE. The first checkpoint is taken from the history
# of this repository. Killed, it goes on where it stopped when it is run again. Three hours of two cores.
set -euo pipefail
data=$(cd "${1:?"which folder has the training files?"}" && pwd)
cd "$(dirname "$0")/.."
shipped=src/parametric_memory/hypernetwork/checkpoints/smollm2-135m-instruct
begun=runs/out/first/$shipped
mkdir -p runs/out/first
git archive 3e3cf26 "$shipped" | tar -x -C runs/out/first
train() { # RECIPE DATA SEED [OPTIONS]
    .venv/bin/pmem train hypernetwork --data "$2" --out "runs/out/$1" --recipe "runs/recipes/$1.toml" \
        --init "$begun" --seed "$3" "${@:4}"
    begun="runs/out/$1/checkpoint"
}
train told "$data" 0 "${@:2}"
train found "$data" 0 "${@:2}"
corpus=runs/out/grown.json.gz
[[ -e $corpus ]] || .venv/bin/pmem train corpus --data "$data" --out "$corpus" --synthetic 8000 --seed 1
train grown "$corpus" 1 "${@:2}"
