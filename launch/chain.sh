#!/usr/bin/env bash
# What quickstart.sh and train_demo.sh share: the steps from nothing to a bundle, in the folder `out`. Sourced, not run.
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"

# begin DEFAULT [OUT]: makes .venv and the folder OUT.
begin() {
  one_argument OUT "${@:2}"
  local folder="${2:-$1}"
  case "$folder" in "~" | "~/"*) folder="$HOME${folder#"~"}" ;; esac
  mkdir -p "$folder" 2>/dev/null || fail 2 "cannot write $folder: name another folder"
  launch/setup.sh
  out="$(cd "$folder" && pwd)"
  export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$out/.jax_cache}"
}

run() { .venv/bin/python -m "$@"; }
section() { printf '\n== %s\n' "$1"; }

# make_data CLIPS: so many procedural clips, the last eighth to test on, and the data set of them.
make_data() {
  section "Procedural clips: swaying plants, grass, candles, lanterns"
  run data_pipeline.procedural --out="$out/clips" --clips="$1"
  section "Data set: optical flow, trajectories, spectra"
  run data_pipeline.build --videos="$out/clips" --data_dir="$out/data" --config=configs/data.py:demo \
    --holdout='test_*' --exact
}

train() {
  run gid_jax.train --config="configs/$1.py:demo" --workdir="$out/train/$1" --config.data_dir="$out/data" "${@:2}"
}

# train_stages [VAE DENOISER COORDINATED RENDERER]: steps of each; the preset's own where none are given.
train_stages() {
  section "Stage 1: the autoencoder of spectral slices"
  train vae ${1:+--config.num_steps="$1"}
  section "Stage 2: the denoiser of single slices"
  train denoiser --config.vae="$out/train/vae" ${2:+--config.num_steps="$2"}
  section "Stage 3: attention over frequencies, on the frozen base"
  train coordinated --config.base="$out/train/denoiser" ${3:+--config.num_steps="$3"}
  section "Stage 4: the renderer"
  train renderer ${4:+--config.num_steps="$4"}
  section "Bundle"
  run gid_jax.export --vae="$out/train/vae" --denoiser="$out/train/coordinated" --renderer="$out/train/renderer" \
    --out="$out/bundle"
}
