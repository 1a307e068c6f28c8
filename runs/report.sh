#!/usr/bin/env bash
# The report: every system beside every other on the dev files, what scores do not show, and what it all costs.
#
#     runs/report.sh DATA [MORE OPTIONS OF pmem eval]
#
# DATA is a folder with the *.dev.jsonl.gz files. Killed, it goes on where it stopped when it is run again.
set -euo pipefail
data=$(cd "${1:?"which folder has the dev files?"}" && pwd)
cd "$(dirname "$0")/.."
sets=(squad1.1 squad2.0 ropes drop 2wikimultihopqa hotpotqa qasper_yesno)
files=("${sets[@]/%/.dev.jsonl.gz}")
files=("${files[@]/#/$data/}")
.venv/bin/pmem eval --data "${files[0]}" "${files[@]:1}" \
    --systems closed_book,in_context,in_context_few,reader,rag_bm25,rag_dense,rag_reader,atoms,atoms_or_base,atoms_oracle,hybrid \
    --limit 200 --seed 0 --time 8 --workers "$(nproc)" --out runs/out/report "${@:2}"
.venv/bin/pmem report runs/out/report --docs docs/benchmarks --readme README.md
