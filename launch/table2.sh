#!/usr/bin/env bash
# Table 2 of the paper in small: launch/table2.sh [OUT], by default out/table2. Writes docs/results/table2.md.
#
# Renders 256 training scenes and 48 to test on at 80 x 48, builds their data set, trains the rows with two seeds
# (configs/sweeps/table2.py) and evaluates them. Interrupted and started again, it continues where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/chain.sh
begin out/table2 "$@"
size=(80 48)
run gid_jax.weights fid-inception i3d-kinetics400

section "Procedural clips"
run data_pipeline.procedural --out="$out/clips" --clips=256 --split=train --width="${size[0]}" --height="${size[1]}"
run data_pipeline.procedural --out="$out/clips" --clips=48 --split=test --width="${size[0]}" --height="${size[1]}"
section "Data set: optical flow, trajectories, spectra"
run data_pipeline.build --videos="$out/clips" --data_dir="$out/data" --config=configs/data.py:demo --holdout='test_*' \
  --exact --config.max_starts=1 --config.width="${size[0]}" --config.height="${size[1]}"
section "The rows, two seeds"
run launch.sweep --config=configs/sweeps/table2.py:demo --workdir="$out/sweep" --config.data_dir="$out/data" \
  --config.width="${size[0]}" --config.height="${size[1]}" --config.images_every=0
section "Clips of every row, and their figures"
mkdir -p docs/results
run launch.table2 --workdir="$out/sweep" --data_dir="$out/data" --out="$out/rows" --document=docs/results/table2.md
