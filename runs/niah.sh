#!/usr/bin/env bash
# Needles in haystacks of 128 tokens to a million, ten depths each, for every system.
#
#     runs/niah.sh [MORE OPTIONS OF pmem probe]
#
# Name a document compiler with --document-checkpoint. Killed, it goes on with the question it was at when it is run
# again. The last two lengths take a GPU, or a night.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pmem probe niah --lengths 128,512,2048,8192,32768,131072,1000000 --limit 10 --seed 0 --out runs/out/niah "$@"
