#!/usr/bin/env bash
# Train the token router of the built-in key encoder, which serves every base model: an hour on two cores.
#
#     runs/train_token_router.sh DATA [MORE OPTIONS OF pmem train router]
#
# DATA is a folder with the files of training/data.py's DEFAULT_MIXTURE. Killed, it goes on where it stopped when it is
# run again. Afterwards, runs/fit_reranker.py measures how far it is to be believed.
set -euo pipefail
data=$(cd "${1:?"which folder has the training files?"}" && pwd)
cd "$(dirname "$0")/.."
.venv/bin/pmem train router --data "$data" --out runs/out/router --reserve --seed 0 "${@:2}"
