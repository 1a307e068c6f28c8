#!/usr/bin/env bash
# Train a hypernetwork for the built-in base model, by the default curriculum.
#
#     runs/train_hypernetwork.sh DATA [MORE OPTIONS OF pmem train hypernetwork]
#
# DATA is a folder with the files of training/data.py's DEFAULT_MIXTURE. Killed, it goes on where it stopped when it is
# run again. The checkpoint in the package is older than this curriculum and has seen eight of these files: its card tells.
set -euo pipefail
data=$(cd "${1:?"which folder has the training files?"}" && pwd)
cd "$(dirname "$0")/.."
.venv/bin/pmem train hypernetwork --data "$data" --out runs/out/train --examples 22000 --steps 1300 --seed 0 "${@:2}"
