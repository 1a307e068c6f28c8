#!/usr/bin/env bash
# What scores over a set do not show, each probe at a scale that two cores finish over a coffee.
#
#     runs/probes.sh DATA [MORE OPTIONS OF pmem probe]
#
# DATA is a folder with squad1.1.dev, nq_swap.train, hotpotqa.dev, 2wikimultihopqa.dev and others to fill memories with
# (*.jsonl.gz). Killed, it goes on with the probe it was at when it is run again.
set -euo pipefail
data=$(cd "${1:?"which folder has the files of questions?"}" && pwd)
cd "$(dirname "$0")/.."
probe() {
    .venv/bin/pmem probe "$@" --data "$data" --out runs/out/probes --seed 0
}
probe off_topic counterfactual disagreement paraphrase --limit 50 "${@:2}"
probe stored --limit 50 --stored 100,1000,10000 "${@:2}"
# A document of 2,000 tokens in the prompt is what takes long here.
probe length --limit 20 "${@:2}"
probe two_hop --limit 25 "${@:2}"
