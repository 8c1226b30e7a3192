#!/usr/bin/env bash
# Makes .venv with the test extras and runs the suite: launch/test.sh [pytest arguments], for example `-m slow`.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/usage.sh
./launch/setup.sh test
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
