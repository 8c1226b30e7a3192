#!/usr/bin/env bash
# The whole chain at demo scale: launch/quickstart.sh [OUT], by default out/quickstart.
#
# Makes .venv, renders procedural clips, builds the data set, trains the four stages, exports a bundle, animates a picture
# that was not trained on, writes the page to play with it and an evaluation. Sized for 15 minutes on two cores after the
# installation. Interrupted and started again, it continues where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-out/quickstart}"

launch/setup.sh
mkdir -p "$out" 2>/dev/null || { echo "launch/quickstart.sh: error: cannot write $out: name another folder" >&2; exit 2; }
out="$(cd "$out" && pwd)"
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$out/.jax_cache}"
run() { .venv/bin/python -m "$@"; }
section() { printf '\n== %s\n' "$1"; }
train() {
  local stage="$1" steps="$2"
  shift 2
  run gid_jax.train --config="configs/$stage.py:demo" --workdir="$out/train/$stage" \
    --config.data_dir="$out/data" --config.num_steps="$steps" "$@"
}

section "1/8 Procedural clips: swaying plants, grass, candles, lanterns"
run data_pipeline.procedural --out="$out/clips" --clips=40

section "2/8 Data set: optical flow, trajectories, spectra"
run data_pipeline.build --videos="$out/clips" --data_dir="$out/data" --config=configs/data.py:demo \
  --holdout='test_*' --exact

section "3/8 Stage 1: the autoencoder of spectral slices"
train vae 250

section "4/8 Stage 2: the denoiser of single slices"
train denoiser 600 --config.batch_size=8 --config.vae="$out/train/vae"

section "5/8 Stage 3: attention over frequencies, on the frozen base"
train coordinated 60 --config.base="$out/train/denoiser"

section "6/8 Stage 4: the renderer"
train renderer 250

section "7/8 Bundle, animation, viewer"
run gid_jax.export --vae="$out/train/vae" --denoiser="$out/train/coordinated" --renderer="$out/train/renderer" --out="$out/bundle"
picture="$out/clips/test_00000.png"
run gid_jax.animate "$picture" --bundle="$out/bundle" --out="$out/animation.mp4" --xt_slice="$out/xt_slice.png"
run gid_jax.interact "$picture" --bundle="$out/bundle" --out="$out/viewer.html"

section "8/8 Evaluation on scenes that were not trained on"
run gid_jax.eval --bundle="$out/bundle" --data_dir="$out/data" --out="$out/eval" --config=configs/eval.py:demo
run launch.report --out="$out"

cat <<END

Done. Open
  $out/report.html       what was made and how well it moves
  $out/animation.mp4     a picture that was not trained on, moving
  $out/viewer.html       the same picture to pull and let go
  $out/eval/report.html  the evaluation in full
  $out/bundle/           the trained model: python -m gid_jax.animate PHOTO --bundle=$out/bundle --out=V.mp4
END
