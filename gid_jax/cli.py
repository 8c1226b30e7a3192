"""How every command starts: flags parsed, one clear line and exit code 2 for whatever the user can mend."""

import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from gid_jax import libtpu
from gid_jax.errors import UserError

PROJECT = Path(__file__).resolve().parents[1]  # where the packages lie side by side


class ConfigFlags(flags.FlagValues):
    """Flags with a configuration among them, defined by `config_flags.DEFINE_config_file` without a default.

    `default` is the configuration where none is named. Raises UserError for a file that is none and for an override of
    a setting that does not exist.
    """

    def __init__(self, default: str = ""):
        super().__init__()
        self.__dict__["_default"] = default  # what is set as usual is a flag

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        self["config"].parser = _ConfigParser()
        if self._default and not any(re.match("--?config(=|$)", argument) for argument in argv):
            argv = [argv[0], f"--config={self._default}", *argv[1:]]
        try:
            return super().__call__(argv, known_only)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            detail = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
            raise UserError(f"no such setting in the configuration: {detail.args[0]}") from error


class _ConfigParser(flags.ArgumentParser):
    """FILE.py[:PRESET] -> what its `get_config(PRESET)` returns, locked."""

    def parse(self, argument: str) -> ConfigDict:
        config = from_file(argument, "get_config")
        if not isinstance(config, ConfigDict):
            raise UserError(f"--config={argument}: get_config returns {type(config).__name__}, not a ConfigDict")
        return config.lock()

    def flag_type(self) -> str:
        return "configuration"


def from_file(spec: str, function: str) -> Any:
    """What a function of the Python file in --config=FILE.py[:PRESET] returns, or yields, for the preset.

    Where there is no such file, one of this project's by that name (configs/...) is meant, wherever it is installed.
    Raises UserError for a file that is missing or fails.
    """
    name, _, preset = spec.partition(":")
    path = Path(name)
    if not path.exists() and path.parts[:1] == ("configs",):
        path = PROJECT / path
    if not path.is_file():
        kind, folder = ("sweep", "configs/sweeps") if function == "get_points" else ("configuration file", "configs")
        there = sorted(x.stem for x in (PROJECT / folder).glob("*.py") if f"def {function}(" in x.read_text())
        raise UserError(f"--config={spec}: no such {kind}; {folder} has {', '.join(there)}")
    try:
        loaded = runpy.run_path(str(path), run_name=path.stem)
        if function not in loaded:
            raise UserError(f"--config={spec}: has no function {function}(preset)")
        result = loaded[function](*([preset] if preset else []))
        return list(result) if isinstance(result, Iterator) else result  # a generator may fail, too
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f" in line {lines[-1]}" if lines else ""
        raise UserError(f"--config={spec}: {type(error).__name__}{place}: {error}") from error


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
    libtpu.leave_alone()
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
