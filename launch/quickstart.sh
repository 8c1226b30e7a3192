#!/usr/bin/env bash
# The whole chain at demo scale: launch/quickstart.sh [OUT], by default out/quickstart.
#
# Makes .venv, renders procedural clips, builds the data set, trains the four stages, exports a bundle, animates a picture
# that was not trained on, writes the page to play with it and an evaluation. Sized for 15 minutes on two cores after the
# installation; launch/train_demo.sh takes its time and moves better. Interrupted and started again, it continues.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/chain.sh
begin out/quickstart "$@"
make_data 64
train_stages 250 600 60 250

section "Animation and viewer"
picture="$out/clips/test_00000.png"
run gid_jax.animate "$picture" --bundle="$out/bundle" --out="$out/animation.mp4" --xt_slice="$out/xt_slice.png"
run gid_jax.interact "$picture" --bundle="$out/bundle" --out="$out/viewer.html"

section "Evaluation on scenes that were not trained on"
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
