#!/usr/bin/env bash
# Trains the demo bundle: launch/train_demo.sh [OUT], by default out/demo. About an hour of training on two idle cores, after
# some twelve minutes for the data. Interrupted and started again, it continues where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/chain.sh
begin out/demo "$@"
make_data 480
train_stages
printf '\nDone. Try it: .venv/bin/python -m gid_jax.animate PHOTO --bundle=%s --out=V.mp4\n' "$out/bundle"
