#!/usr/bin/env bash
# Trains one stage on a TPU slice, from nothing to the last step, whatever is preempted on the way:
#
#   launch/tpu_train.sh --tpu=NAME --zone=ZONE --accelerator=TYPE --config=configs/vae.py:paper --workdir=gs://BUCKET/vae \
#     --config.data_dir=gs://BUCKET/data [--config.x=y ...]
#
# Creates the slice as a queued resource or uses the one of that name, ships the code at a commit, installs it on every
# worker, starts the training on all of them and prints what worker 0 prints. A job that runs already is joined, not started
# again: Ctrl-C leaves it running, and the same command comes back to it. docs/tpu.md tells the whole.
#
#   --tpu=NAME             the queued resource and its node
#   --zone=ZONE            such as us-west4-a
#   --accelerator=TYPE     such as v5e-16 (that is v5litepod-16), v6e-64, v5p-128
#   --config=FILE[:PRESET] configuration of the stage, as for gid_jax.train
#   --workdir=gs://...     folder of the run
#   --config.x=y           any setting; a config.data_dir on gs:// is brought to each worker's disk first
#   -- FLAGS               further flags of gid_jax.train
#   --data=copy|mount      how it is brought: copied (default) or mounted with gcsfuse, for sets larger than the disk
#   --project=PROJECT      default: gcloud's
#   --runtime_version=V    image of the workers; default: the one that belongs to the accelerator
#   --spot                 a slice that may be preempted at any time
#   --commit=COMMIT        what to ship; default: HEAD, and then nothing may be uncommitted
#   --max_restarts=N       restarts after preemption or failure before giving up (default: 10)
#   --poll_seconds=S       between two looks at a slice that is not ready, and before a restart (default: 30)
#   --delete               delete the slice and end
#   --delete_when_done     delete the slice when the job has ended, finished or given up
#   --dry_run              print every command, run none
#
# Exit code 0: finished; 2: something that you must mend (never restarted); else the job's last exit code.
set -euo pipefail

usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }
say() { echo "tpu_train: $*"; }
fail() { # fail CODE MESSAGE
  echo "$0: error: $2" >&2
  exit "$1"
}

# quote WORD...: one line that a shell reads back as the same words.
quote() {
  local word line="" single="'" escaped="'\\''"
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word="'${word//$single/$escaped}'"
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

run() {
  if [ "$dry_run" = true ]; then quote "$@"; else "$@"; fi
}

tpu="" zone="" accelerator="" config="" workdir="" project="" runtime_version="" commit=""
data=copy max_restarts=10 poll_seconds=30 spot=false dry_run=false delete=false delete_when_done=false
train_flags=()
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage && exit 0 ;;
    --config.*=*) train_flags+=("$1") ;;
    --tpu=* | --zone=* | --accelerator=* | --config=* | --workdir=* | --project=* | --runtime_version=* | --commit=* | \
      --data=* | --max_restarts=* | --poll_seconds=*)
      name="${1%%=*}"
      printf -v "${name#--}" %s "${1#*=}"
      ;;
    --spot | --dry_run | --delete | --delete_when_done) printf -v "${1#--}" true ;;
    --)
      train_flags+=("${@:2}")
      break
      ;;
    *) fail 2 "unknown flag $1 (values are given as --name=value); --help lists them" ;;
  esac
  shift
done

required="tpu zone"
[ "$delete" = true ] || required="tpu zone accelerator config workdir"
for name in $required; do
  [ -n "${!name}" ] || fail 2 "--$name is missing; --help explains it"
done
for name in max_restarts poll_seconds; do
  [[ "${!name}" =~ ^[0-9]+$ ]] || fail 2 "--$name=${!name} is not a whole number"
done
[ "$dry_run" = true ] || command -v gcloud > /dev/null ||
  fail 2 "gcloud is not installed: https://cloud.google.com/sdk/docs/install"

here=("--zone=$zone" ${project:+"--project=$project"})
scratch="${TMPDIR:-/tmp}"
if [ "$dry_run" = false ]; then
  scratch="$(mktemp -d)"
  trap 'rm -rf "$scratch"' EXIT
fi

# The commands, one function each. The node, the workers' machines, has the name of its queued resource.
queue_value() { run gcloud compute tpus queued-resources describe "$tpu" "${here[@]}" --format="value($1)"; }
node_value() { run gcloud compute tpus tpu-vm describe "$tpu" "${here[@]}" --format="value($1)"; }
delete_slice() { run gcloud compute tpus queued-resources delete "$tpu" "${here[@]}" --force --quiet; }
create_slice() {
  local flags=("--node-id=$tpu" "--accelerator-type=$accelerator" "--runtime-version=$runtime_version")
  [ "$spot" = false ] || flags+=(--spot)
  run gcloud compute tpus queued-resources create "$tpu" "${here[@]}" "${flags[@]}" --quiet
}
pack_code() { run git archive --format=tar.gz --output="$scratch/$code.tar.gz" "$commit"; }
ship_code() { run gcloud compute tpus tpu-vm scp "$scratch/$code.tar.gz" "$tpu:" "${here[@]}" --worker=all --quiet; }
start_workers() {
  local unpack="{ [ -d $code ] || { mkdir -p $code.part && tar -xzf $code.tar.gz -C $code.part && mv -T $code.part $code; }; }"
  # Connections are silent for hours: without signs of life they are cut, and a slice that is gone is not noticed.
  run gcloud compute tpus tpu-vm ssh "$tpu" "${here[@]}" --worker=all --quiet \
    --ssh-flag="-o ServerAliveInterval=30 -o ConnectTimeout=20" \
    --command="$unpack && $(quote bash "$code/launch/tpu_worker.sh" "$data" "${train_flags[@]}")"
}

# Prints what a describing function prints, MISSING where there is nothing to describe; fails where gcloud cannot tell.
or_missing() {
  "$@" 2> "$scratch/error" && return
  if grep -q NOT_FOUND "$scratch/error"; then echo MISSING; else cat "$scratch/error" >&2 && return 1; fi
}

# State of the queued resource; once that is ACTIVE, of its node: READY is what we want.
slice_state() {
  local state
  state="$(or_missing queue_value state.state)" || return
  if [ "$state" = ACTIVE ]; then
    state="$(or_missing node_value state)" || return
    [ "$state" != MISSING ] || state=GONE
  fi
  echo "$state"
}

if [ "$delete" = true ]; then
  if [ "$dry_run" = false ] && [ "$(or_missing queue_value state.state)" = MISSING ]; then
    say "there is no slice $tpu in $zone, nothing to delete"
  else
    delete_slice
  fi
  exit 0
fi

case "$workdir" in gs://*) ;; *) fail 2 "--workdir=$workdir must be on gs://: all workers and every later slice need it" ;; esac
case "$data" in copy | mount) ;; *) fail 2 "--data=$data: choose copy or mount" ;; esac
[[ "$accelerator" =~ ^v5e-[0-9]+$ ]] && accelerator="v5litepod-${accelerator#v5e-}"
if [ -z "$runtime_version" ]; then
  case "$accelerator" in
    v6e-*) runtime_version=v2-alpha-tpuv6e ;;
    v5p-*) runtime_version=v2-alpha-tpuv5 ;;
    v5litepod-*) runtime_version=v2-alpha-tpuv5-lite ;;
    v4-* | v3-* | v2-*) runtime_version=tpu-ubuntu2204-base ;;
    *) fail 2 "--accelerator=$accelerator: known are v5e-N, v6e-N, v5p-N, v4-N; name others with their --runtime_version" ;;
  esac
fi

cd "$(dirname "$0")/.."
changed="$(git status --porcelain)"
if [ -z "$commit" ] && [ -n "$changed" ] && [ "$dry_run" = false ]; then
  fail 2 "not everything is committed (${changed%%$'\n'*}): commit it, or name what to ship, such as --commit=HEAD"
fi
named="${commit:-HEAD}"
commit="$(git rev-parse --verify --quiet "$named^{commit}")" || fail 2 "--commit=$named: no such commit"
for file in "${config%%:*}" launch/tpu_worker.sh; do
  git cat-file -e "$commit:$file" 2> /dev/null || fail 2 "there is no $file in commit $named"
done
code="gid_jax-${commit:0:12}"
train_flags=("--config=$config" "--workdir=$workdir" ${train_flags[@]+"${train_flags[@]}"})

if [ "$dry_run" = true ]; then
  echo "# The slice. NOT_FOUND: it is created; ACTIVE: it is used; SUSPENDED (preempted): it is deleted and created again."
  queue_value state.state
  create_slice
  echo "# Both every $poll_seconds s until ACTIVE and READY."
  queue_value state.state
  node_value state
  node_value acceleratorType
  echo "# The code, then the job. After a preemption or failure all of it again, at most $max_restarts times."
  pack_code
  ship_code
  start_workers
  if [ "$delete_when_done" = true ]; then delete_slice; fi
  exit 0
fi
trap 'say "interrupted. What runs on the slice goes on; the same command joins it, --delete ends it"; exit 130' INT

# Returns when the slice is there and ready.
acquire_slice() {
  local state last="" reason
  while true; do
    state="$(slice_state)" || state=UNKNOWN
    [ "$state" = "$last" ] || say "slice $tpu is $state"
    last="$state"
    case "$state" in
      READY) return ;;
      MISSING)
        say "creating $tpu, $accelerator in $zone"
        create_slice || [ "$(slice_state)" != MISSING ] || fail 1 "slice $tpu could not be created; gcloud says why above"
        ;;
      SUSPENDED | PREEMPTED | TERMINATED | GONE)
        say "slice $tpu was taken away: deleting what is left of it"
        delete_slice || fail 1 "slice $tpu could not be deleted; gcloud says why above"
        ;;
      FAILED)
        reason="$(queue_value state.failedData.error.message)" || true
        fail 1 "the request for slice $tpu failed: ${reason:-no reason given}; remove it with --delete and ask again"
        ;;
      STOPPED) fail 2 "slice $tpu is stopped: start it (gcloud compute tpus tpu-vm start) or remove it with --delete" ;;
      UNKNOWN) [ "$started" = true ] || fail 1 "gcloud cannot tell the state of slice $tpu; it says why above" ;;
    esac
    sleep "$poll_seconds"
  done
}

# One attempt, from shipping the code to the end of the job; the exit code of the first worker that failed, 0 if none did.
# Each step ends the attempt by itself: `set -e` does not hold in a function whose exit code is asked for.
attempt() {
  : > "$scratch/log"
  ship_code && start_workers < /dev/null | tee "$scratch/log"
}

started=false restarts=0
acquire_slice
found="$(node_value acceleratorType)"
[ "$found" = "$accelerator" ] ||
  fail 2 "slice $tpu is a $found, not a $accelerator: choose another --tpu, or remove it with --delete"
started=true
pack_code
while true; do
  status=0
  attempt || status=$?
  # A worker that must be mended makes others fail too, and gcloud reports the first of them.
  if grep -q '^worker [0-9]*: exit code 2$' "$scratch/log"; then status=2; fi
  if [ "$status" = 0 ] || [ "$status" = 2 ] || [ "$restarts" -ge "$max_restarts" ]; then break; fi
  restarts=$((restarts + 1))
  say "ended with exit code $status; restart $restarts of at most $max_restarts"
  sleep "$poll_seconds"
  acquire_slice
done

if [ "$delete_when_done" = true ]; then delete_slice || say "slice $tpu could not be deleted: it still runs and costs"; fi
case "$status" in
  0) say "finished: $workdir" ;;
  2) fail 2 "the job cannot run like this, see above; it was not restarted" ;;
  *) fail "$status" "gave up after $restarts restarts, exit code $status; the same command goes on from the newest checkpoint" ;;
esac
