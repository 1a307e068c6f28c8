#!/usr/bin/env bash
# Train a document compiler (Doc-to-LoRA) on the questions, and for as many steps, as the shipped atom compiler.
#
#     runs/train_document.sh DATA [MORE OPTIONS OF pmem train hypernetwork]
#
# DATA is the folder of runs/train_hypernetwork.sh. Killed, it goes on where it stopped when it is run again.
set -euo pipefail
data=$(cd "${1:?"which folder has the training files?"}" && pwd)
cd "$(dirname "$0")/.."
.venv/bin/pmem train hypernetwork --data "$data" --out runs/out/document --recipe runs/recipes/document.toml \
    --examples 22000 --seed 0 "${@:2}"
