#!/usr/bin/env bash
# What launch/tpu_train.sh runs on every worker of a slice: launch/tpu_worker.sh copy|mount FLAGS_OF_GID_JAX_TRAIN...
#
# Starts the job apart from this connection, so that losing one does not end the other, or joins the same job where it runs
# already; stays until it ends and takes over its exit code. Worker 0 prints the log, any other its last lines if it failed.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ! "${1:-}" =~ ^(copy|mount)$ ]]; then source launch/usage.sh; fi
home="$HOME/gid_jax"
job="$home/job"
mkdir -p "$job"

metadata() {
  curl --silent --show-error --fail --retry 5 --header "Metadata-Flavor: Google" \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}
worker="$(metadata agent-worker-number)"

install_code() {
  export VENV="$home/venv" PYTHON="$home/venv/bin/python"
  if [ ! -x "$PYTHON" ]; then
    # Images of TPU VMs come with Python 3.10, too old for gid_jax.
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
    "$HOME/.local/bin/uv" python install 3.12
    PYTHON="$("$HOME/.local/bin/uv" python find 3.12)"
  fi
  launch/setup.sh tpu
}

# bring_data copy|mount gs://BUCKET/PATH FOLDER
bring_data() {
  local path="${2#gs://}"
  mkdir -p "$3"
  if [ "$1" = copy ]; then
    gcloud storage rsync --recursive "$2" "$3"
  elif ! mountpoint --quiet "$3"; then
    command -v gcsfuse > /dev/null || {
      echo "gcsfuse is not installed on this image: use --data=copy, or install it on all workers" && return 2
    }
    gcsfuse --implicit-dirs -o ro --only-dir="${path#*/}" "${path%%/*}" "$3" 9>&- # its daemon must not keep the lock
  fi
}

# run_job copy|mount FLAGS...: installs, brings the data, trains; its exit code is the job's.
run_job() {
  local how="$1" flags=() flag endpoints
  shift
  install_code
  for flag in "$@"; do
    if [[ "$flag" == --config.data_dir=gs://* ]]; then
      local source="${flag#*=}"
      source="${source%/}"
      bring_data "$how" "$source" "$home/data/${source#gs://}"
      flag="--config.data_dir=$home/data/${source#gs://}"
    fi
    flags+=("$flag")
  done
  # A list of addresses, or of name:number:address.
  IFS=, read -r -a endpoints <<< "$(metadata worker-network-endpoints)"
  if [ "${#endpoints[@]}" -gt 1 ]; then
    flags+=("--coordinator=${endpoints[0]##*:}:8482" "--num_processes=${#endpoints[@]}" "--process_id=$worker")
  fi
  "$VENV/bin/python" -m gid_jax.train "${flags[@]}"
}

# Whoever holds the lock runs the job; every process of the job inherits it.
command="$PWD $(printf '%q ' "$@")"
exec 9> "$job/lock"
if flock --nonblock 9; then
  rm -f "$job/exit_code"
  echo "$command" > "$job/command"
  : > "$job/log"
  lines=+1
  (
    trap : TERM # the training takes a SIGTERM, saves and exits; this shell lives to note how
    set +e
    (
      set -e
      run_job "$@"
    )
    echo $? > "$job/exit_code"
  ) < /dev/null >> "$job/log" 2>&1 &
elif [ "$(cat "$job/command")" = "$command" ]; then
  lines=20
  [ "$worker" != 0 ] || echo "The job runs already: joining it."
else
  echo "worker $worker: another job runs on this slice: $(cat "$job/command")"
  echo "worker $worker: exit code 2"
  exit 2
fi
exec 9>&-

flock "$job/lock" true &
ended=$!
if [ "$worker" = 0 ]; then tail --follow --sleep-interval=0.2 --lines="$lines" --pid="$ended" "$job/log"; fi
wait "$ended"

status="$(cat "$job/exit_code" 2> /dev/null || echo 137)" # none was noted: the job was killed
[ "$status" != 0 ] || exit 0
[ "$worker" = 0 ] || tail --lines=20 "$job/log" | sed "s/^/worker $worker: /"
echo "worker $worker: exit code $status"
exit "$status"
