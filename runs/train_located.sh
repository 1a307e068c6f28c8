#!/usr/bin/env bash
# Train the micro-LoRAs of the checkpoint in the package further, for a memory with a token router: first with the
# answer's place told, then with what the token router finds.
#
#     runs/train_located.sh DATA [MORE OPTIONS OF pmem train hypernetwork]
#
# DATA is a folder with the files of training/data.py's DEFAULT_MIXTURE. Killed, it goes on where it stopped when it is
# run again. An hour and a half of two cores. The checkpoint in the package came of this already, begun with its first
# version (commit 3e3cf26): begin with that to repeat it.
set -euo pipefail
data=$(cd "${1:?"which folder has the training files?"}" && pwd)
cd "$(dirname "$0")/.."
begun=src/parametric_memory/hypernetwork/checkpoints/smollm2-135m-instruct
for recipe in told found; do
    .venv/bin/pmem train hypernetwork --data "$data" --out "runs/out/$recipe" --recipe "runs/recipes/$recipe.toml" \
        --init "$begun" --seed 0 "${@:2}"
    begun="runs/out/$recipe/checkpoint"
done
