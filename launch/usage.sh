# Sourced by every script that people run: `--help` prints the comment at the top of the script.

usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$(dirname "${BASH_SOURCE[0]}")/$(basename "$0")"; }
fail() { # fail CODE MESSAGE
  echo "$0: error: $2" >&2
  exit "$1"
}

# one_argument NAME ARGUMENTS...: at most one, and no option.
one_argument() {
  case "${2:-}" in -*) fail 2 "unknown option $2; --help tells what there is" ;; esac
  [ $# -le 2 ] || fail 2 "one argument at most, $1; --help tells what there is"
}

case " $* " in *" --help "* | *" -h "*) usage && exit 0 ;; esac
