"""How every command starts: flags parsed, one clear line and exit code 2 for whatever the user can mend."""

import sys
from collections.abc import Callable, Sequence

from absl import flags

from gid_jax.errors import UserError


class ConfigFlags(flags.FlagValues):
    """Flags with a configuration among them: an override of a setting that does not exist is the user's error."""

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        try:
            return super().__call__(argv, known_only)
        except (AttributeError, KeyError) as error:
            detail = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
            raise UserError(f"no such setting in the configuration: {detail.args[0]}") from error
        except OSError as error:
            named = next((argument for argument in argv if argument.startswith("--config=")), "--config")
            raise UserError(f"{named}: no such configuration file") from error


def run(main: Callable[[list[str]], None], flag_values: flags.FlagValues, argv: Sequence[str] | None = None) -> None:
    """Parses `argv` into `flag_values` and calls `main` with the positional arguments.

    `--help` prints the flags' descriptions and exits 0. A wrong flag or a `UserError` ends in one line on stderr and
    exit code 2, Ctrl-C in exit code 130. `main` reads its flags from `flag_values`, which it defined with
    `flags.DEFINE_*(..., flag_values=flag_values)`, so that importing one command never touches another's flags.
    """
    argv = list(sys.argv if argv is None else argv)
    program = f"python -m {_module_name(main)}"
    if any(argument in ("--help", "-help", "-h") for argument in argv[1:]):
        print((sys.modules[main.__module__].__doc__ or "").strip() + "\n\nFlags:")
        print(_describe(flag_values))
        sys.exit(0)
    try:
        main(flag_values(argv)[1:])
    except (UserError, flags.Error) as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)


def _module_name(main: Callable[[list[str]], None]) -> str:
    spec = getattr(sys.modules[main.__module__], "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else main.__module__


def _describe(flag_values: flags.FlagValues) -> str:
    lines = []
    for name in sorted(flag_values):
        flag = flag_values[name]
        if flag.name == name:
            default = "" if flag.default in (None, "") else f" (default: {flag.default})"
            lines.append(f"  --{name}: {' '.join((flag.help or '').split())}{default}")
    return "\n".join(lines)
