#!/usr/bin/env bash
# Train the shipped hypernetwork: runs/train_hypernetwork.sh DATA [OUT]
# DATA is a folder with the files that docs/how-to/train-a-compiler.md lists. Seed 0. Stopped, it goes on where it was.
set -euo pipefail
pmem train hypernetwork --data "$1" --out "${2:-runs/out/train}" --examples 22000 --steps 1500 --seed 0
