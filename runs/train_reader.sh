#!/usr/bin/env bash
# Tune a reader for the built-in base model: a LoRA that answers from the text in the prompt, which answers from weights
# are compared with.
#
#     runs/train_reader.sh DATA [MORE OPTIONS OF pmem train reader]
#
# DATA is a folder with the files of training/data.py's DEFAULT_MIXTURE. Killed, it goes on where it stopped when it is
# run again. The reader in the package has seen eight of these files: its card tells.
set -euo pipefail
data=$(cd "${1:?"which folder has the training files?"}" && pwd)
cd "$(dirname "$0")/.."
.venv/bin/pmem train reader --data "$data" --out runs/out/reader --steps 200 --threads 1 --seed 0 "${@:2}"
