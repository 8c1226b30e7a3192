"""How every command starts and ends: flags parsed, one clear line and exit code 2 for whatever the user can mend."""

import contextlib
import io
import math
import os
import re
import runpy
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from gid_jax import libtpu
from gid_jax.errors import UserError
from gid_jax.files import UNFIT

HELP = ("--help", "-help", "-h")


class _PathParser(flags.ArgumentParser[str]):
    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)


class _FiniteParser(flags.FloatParser):
    def convert(self, argument: int | float | str) -> float:
        value = super().convert(argument)
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return value


def DEFINE_path(name: str, default: str | None, help: str, flag_values: flags.FlagValues) -> None:
    """A flag that is a path, or a glob of paths: `~` is the home folder. What is gs://... stays so."""
    flags.DEFINE(_PathParser(), name, default, help, flag_values)


def DEFINE_float(
    name: str,
    default: float,
    help: str,
    flag_values: flags.FlagValues,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
) -> None:
    """A flag that is a finite number."""
    flags.DEFINE(_FiniteParser(lower_bound, upper_bound), name, default, help, flag_values)


PROJECT = Path(__file__).resolve().parents[1]  # where the packages lie side by side


class ConfigFlags(flags.FlagValues):
    """Flags with a configuration among them, defined by `config_flags.DEFINE_config_file` without a default.

    `default` is the configuration where none is named. Raises UserError for a file that is none and for an override of
    a setting that does not exist or by what is no number. `~` is the home folder in the file's path and in every
    setting that is a path.
    """

    def __init__(self, default: str = ""):
        super().__init__()
        self.__dict__["_default"] = default  # what is set as usual is a flag

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        self["config"].parser = _ConfigParser()
        if self._default and not any(re.match("--?config(=|$)", argument) for argument in argv):
            argv = [argv[0], f"--config={self._default}", *argv[1:]]
        try:
            rest = super().__call__(argv, known_only)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            detail = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
            raise UserError(f"no such setting in the configuration: {detail.args[0]}") from error
        if isinstance(config := self["config"].value, ConfigDict):
            _settle(config, "--config")
        return rest


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
    path = Path(os.path.expanduser(name))
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


class Stopped(BaseException):
    """A signal asks the process to end; like Ctrl-C it passes through whatever cleans up."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def run(main: Callable[[list[str]], None], flag_values: flags.FlagValues, argv: Sequence[str] | None = None) -> None:
    """Parses `argv` into `flag_values` and calls `main` with the positional arguments, `~` in them the home folder.

    `--help` prints the flags' descriptions and exits 0. A wrong flag, a `UserError` or a path that the system refuses
    ends in one line on stderr and exit code 2; Ctrl-C, SIGTERM and SIGHUP in one line and 128 + the signal, as a reader
    of stdout that is gone does without a word. `main` reads its flags from `flag_values`, which it defined with
    `flags.DEFINE_*(..., flag_values=flag_values)`, so that importing one command never touches another's flags.
    """
    _open_streams()
    argv = list(sys.argv if argv is None else argv)
    program = f"python -m {_module_name(main)}"
    options = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    code = 0
    libtpu.leave_alone()
    try:
        with stoppable():
            if any(argument in HELP for argument in options):
                with contextlib.suppress(BrokenPipeError):
                    print((sys.modules[main.__module__].__doc__ or "").strip() + "\n\nFlags:")
                    print(_describe(flag_values))
                    sys.stdout.flush()
                sys.exit(0)
            main([os.path.expanduser(argument) for argument in flag_values(argv)[1:]])
            sys.stdout.flush()
    except (UserError, flags.Error) as error:
        code = _say(f"{program}: error: {' '.join(str(error).split())}", 2)
    except BrokenPipeError:
        if not _readers_gone():
            raise  # of a pipe to a process of ours
        code = 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in UNFIT:
            raise
        where = os.fsdecode(error.filename or "cannot write")
        code = _say(f"{program}: error: {' '.join(where.split())}: {error.strerror}", 2)
    except KeyboardInterrupt:
        code = _say(f"{program}: interrupted", 128 + signal.SIGINT)
    except Stopped as stopped:
        code = _say(f"{program}: stopped by {signal.Signals(stopped.number).name}", 128 + stopped.number)
    finally:
        _flush()
    if code:
        sys.exit(code)


def _open_streams() -> None:
    """Gives a process that was started without stdout or stderr (`2>&-`) ones that lead nowhere: else its first files
    would take their places, and what libraries print. A file's name that is no text never stops a line.
    """
    while os.open(os.devnull, os.O_RDWR) <= 2:
        pass
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Writes out what was printed; where that fails, Python's own attempt at the end does not."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _readers_gone() -> bool:
    """Whether stdout or stderr is a pipe that nobody reads any more."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _say(line: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
    return code


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Stopped`, once, unless they are ignored (nohup) or somebody else's.

    Python drops what is raised in a callback, such as JAX's at a garbage collection, and Beam makes another error of
    it: it, or Ctrl-C, is raised again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual: dict[signal.Signals, Any] = {kind: signal.SIG_DFL for kind in (signal.SIGTERM, signal.SIGHUP)}
    usual[signal.SIGINT] = signal.default_int_handler
    usual = {kind: handler for kind, handler in usual.items() if signal.getsignal(kind) == handler}
    asked: int | None = None
    stopping = False  # a terminal that closes sends two
    again: threading.Timer | None = None

    def reason(number: int) -> BaseException:
        return KeyboardInterrupt() if number == signal.SIGINT else Stopped(number)

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping, asked
        if number == signal.SIGINT or not stopping:
            stopping, asked = True, number
            raise reason(number)

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        nonlocal stopping, again
        error = what.exc_value
        if not isinstance(error, Stopped | KeyboardInterrupt):
            report(what)
            return
        stopping = False
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        again = threading.Timer(0.05, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    report, sys.unraisablehook = sys.unraisablehook, dropped
    for kind in usual:
        signal.signal(kind, stop)
    try:
        yield
    except Exception as error:
        if asked is None:
            raise
        raise reason(asked) from error
    finally:
        if again is not None:
            again.cancel()
        for kind, handler in usual.items():
            signal.signal(kind, handler)
        sys.unraisablehook = report


def _settle(config: ConfigDict, name: str) -> None:
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            _settle(value, f"{name}.{key}")
        elif isinstance(value, str) and value.startswith("~"):
            config[key] = os.path.expanduser(value)
        elif isinstance(value, float) and math.isnan(value):
            raise UserError(f"{name}.{key}={value}: is not a number")


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
