#!/usr/bin/env bash
# What an answer, a stored token, a start and a growing store cost, beside RAG and the plain base in the same run.
#
#     runs/bench.sh DATA [MORE OPTIONS OF pmem bench]
#
# DATA is a folder with squad1.1.dev.jsonl.gz. Run again, it goes on with the growing store where it stopped; sizes up
# to a million: --parts growth --sizes 1000,10000,100000,1000000.
set -euo pipefail
data=$(cd "${1:?"which folder has squad1.1.dev.jsonl.gz?"}" && pwd)
cd "$(dirname "$0")/.."
"${PMEM:-.venv/bin/pmem}" bench --data "$data/squad1.1.dev.jsonl.gz" --limit 32 --repeats 3 --seed 0 \
    --out runs/out/bench "${@:2}"
