#!/usr/bin/env bash
# The report: every system beside every other on the dev files, what scores do not show, and what it all costs.
#
#     runs/report.sh DATA [MORE OPTIONS OF pmem eval]
#
# DATA is a folder with the *.dev.jsonl.gz files. Killed, it goes on where it stopped when it is run again. The answers
# that the page was made of are kept beside it: what was asked with the same settings is not asked again.
set -euo pipefail
data=$(cd "${1:?"which folder has the dev files?"}" && pwd)
cd "$(dirname "$0")/.."
out=runs/out/report kept=docs/benchmarks/answers.jsonl.gz
sets=(squad1.1 squad2.0 ropes drop 2wikimultihopqa hotpotqa qasper_yesno)
files=("${sets[@]/%/.dev.jsonl.gz}")
files=("${files[@]/#/$data/}")
if [[ ! -e $out/answers.jsonl && -e $kept ]]; then
    mkdir -p "$out"
    gunzip --stdout "$kept" >"$out/answers.jsonl"
fi
.venv/bin/pmem eval --data "${files[0]}" "${files[@]:1}" \
    --systems closed_book,in_context,in_context_few,reader,rag_bm25,rag_dense,rag_reader,atoms,atoms_or_base,atoms_oracle,atoms_among,hybrid,extract,extract_oracle \
    --limit 200 --seed 0 --time 8 --workers "$(nproc)" --out "$out" "${@:2}"
.venv/bin/pmem report "$out" --docs docs/benchmarks --readme README.md
gzip --best --no-name --stdout "$out/answers.jsonl" >"$kept"
