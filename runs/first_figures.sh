#!/usr/bin/env bash
# The first figures of the shipped checkpoint, beside every baseline: questions about Wikipedia paragraphs never trained on.
#
#     runs/first_figures.sh DATA [MORE OPTIONS OF pmem eval]
#
# DATA is a folder with squad1.1.dev.jsonl.gz. Killed, it goes on where it stopped when it is run again.
# The bar: the token F1 of atoms_oracle is at least .25 and at least 1.2 times that of in_context.
set -euo pipefail
data=$(cd "${1:?"which folder has squad1.1.dev.jsonl.gz?"}" && pwd)
cd "$(dirname "$0")/.."
.venv/bin/pmem eval --data "$data/squad1.1.dev.jsonl.gz" \
    --systems closed_book,in_context,in_context_document,rag_bm25,rag_dense,atoms,atoms_oracle,hybrid \
    --limit 300 --seed 0 --out runs/out/first_figures "${@:2}"
