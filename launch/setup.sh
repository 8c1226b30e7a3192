#!/usr/bin/env bash
# Makes or updates .venv: launch/setup.sh [EXTRAS], for example `launch/setup.sh test` or `launch/setup.sh tpu`.
# Quick when nothing changed. PYTHON names another interpreter (3.11 to 3.13).
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/usage.sh
one_argument EXTRAS "$@"

extras="${1:-}"
for extra in ${extras//,/ }; do
  grep -q "^$extra =$" setup.cfg || fail 2 "no such extra: $extra; there are $(sed -n '/^\[options.extras_require\]/,/^\[[^o]/s/^\([a-z]*\) =$/\1/p' setup.cfg | paste -sd ' ')"
done
venv="${VENV:-.venv}"

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "launch/setup.sh: error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: PYTHON=/path/to/python $0" >&2
  exit 2
}

# An environment that has more extras than asked for still fits.
wanted="$(cat setup.cfg pyproject.toml | sha256sum | cut -d' ' -f1)"
stamp="$venv/.installed"
if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$wanted" ]; then
  installed=",$(tail -n 1 "$stamp"),"
  missing=""
  for extra in ${extras//,/ }; do
    [[ "$installed" == *",$extra,"* ]] || missing="$missing $extra"
  done
  [ -n "$missing" ] || exit 0
  extras="$(tail -n 1 "$stamp")${missing:+,${missing# }}"
  extras="${extras#,}"
  extras="${extras// /,}"
fi

python="$(find_python)"
if [ ! -x "$venv/bin/python" ]; then
  echo "Making $venv with $("$python" --version) ..."
  "$python" -m venv "$venv"
fi
rm -f "$stamp"
echo "Installing gid_jax${extras:+ with extras $extras} (a few minutes the first time) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}"
printf '%s\n%s\n' "$wanted" "$extras" > "$stamp"
