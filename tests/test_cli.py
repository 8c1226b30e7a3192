"""How every command starts and ends, in processes of their own: streams, signals, pipes, ~ and numbers."""

import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from gid_jax import cli
from gid_jax.errors import UserError

PROGRAM = """
    import gc, sys, time
    from absl import flags
    from gid_jax import cli
    FLAGS = flags.FlagValues()
    def main(arguments):
        {body}
    cli.run(main, FLAGS, sys.argv)
"""


def start(body: str, **options) -> subprocess.Popen:
    program = textwrap.dedent(PROGRAM).format(body=textwrap.indent(textwrap.dedent(body), 4 * " ").strip())
    everything = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-c", program], **everything)


def test_home_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    values = flags.FlagValues()
    cli.DEFINE_path("out", None, "", flag_values=values)
    seen: list[str] = []

    def main(arguments: list[str]) -> None:
        seen.extend([*arguments, values.out])

    cli.run(main, values, ["program", "~/photo.jpg", "~", "a~", "--out=~/x/*.mp4"])
    assert seen == ["/home/me/photo.jpg", "/home/me", "a~", "/home/me/x/*.mp4"]
    values.out = None
    for place in ("gs://bucket/~", "~nobody-of-that-name/x", "./~"):
        values(["program", f"--out={place}"])
        assert values.out == place


def test_home_and_numbers_in_a_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config(preset=''):\n"
        "    return ConfigDict({'vae': '', 'loss': {'vgg': ''}, 'rate': 0.5}).lock()\n"
    )

    def parse(*arguments: str) -> ConfigDict:
        values, argv = cli.ConfigFlags(), ["program", "--config=~/mine.py", *arguments]
        config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=argv)
        values(argv)
        return values.config

    config = parse("--config.vae=~/out/vae", "--config.loss.vgg=~/vgg.safetensors")
    assert config.vae == f"{tmp_path}/out/vae" and config.loss.vgg == f"{tmp_path}/vgg.safetensors"
    with pytest.raises(UserError, match=r"--config\.rate=nan"):
        parse("--config.rate=nan")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(value, capsys):
    values = flags.FlagValues()
    cli.DEFINE_float("magnify", 1.0, "", flag_values=values)
    with pytest.raises(SystemExit) as ended:
        cli.run(print, values, ["program", f"--magnify={value}"])
    assert ended.value.code == 2 and "--magnify" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    for body, code in [("", 0), ("[print(i) for i in range(99999)]", 141)]:
        arguments = ["--help"] if not body else []
        program = textwrap.dedent(PROGRAM).format(body=body or "pass")
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, timeout=60)
        assert (done.returncode, done.stderr) == (code, b"")
    os.close(writing)


def test_streams_that_are_closed_or_full(tmp_path):
    """`2>&-`: what is opened then is no standard stream; what is printed leads nowhere."""
    body = f"file = open({str(tmp_path / 'f')!r}, 'w'); print('lost', file=sys.stderr); file.write(str(file.fileno()))"
    for closed in (1, 2):
        process = start(body, preexec_fn=lambda closed=closed: os.close(closed), stdout=None, stderr=None)
        assert process.wait(60) == 0 and int((tmp_path / "f").read_text()) > 2
    with open("/dev/full", "w") as full:
        process = start("print('much')", stdout=full)
        assert process.communicate(timeout=60)[1].count("No space left") == 1 and process.returncode == 2


def test_a_name_that_is_no_text_is_printed():
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    out, err = start(r"print('\udcff')", env=environment).communicate(timeout=60)
    assert (out, err) == ("\\udcff\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_end_in_one_line_after_cleaning_up(number, code):
    """Even where Python drops the exception, since the signal came during a callback of the garbage collector."""
    body = """
        def callback(phase, info):
            gc.callbacks.clear()
            print('ready', flush=True)
            time.sleep(20)
        gc.callbacks.append(callback)
        try:
            gc.collect(0)
            while True:
                time.sleep(0.01)
        finally:
            print('clean')
    """
    process = start(body, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "clean\n")
    assert len(err.splitlines()) == 1 and "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_counts_whatever_a_library_makes_of_it(number, code):
    body = """
        try:
            print('ready', flush=True)
            time.sleep(20)
        except BaseException as error:
            raise RuntimeError(error)
    """
    process = start(body, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and len(err.splitlines()) == 1


def test_what_nohup_ignores_stays_ignored():
    process = start(
        "print('ready', flush=True); time.sleep(0.5)",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0


def test_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    cli.run(lambda arguments: None, flags.FlagValues(), ["program"])
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before


def test_a_file_that_may_not_grow(tmp_path):
    """As `ulimit -f` has it, for whatever is written without a care."""
    process = start(
        f"open({str(tmp_path / 'f')!r}, 'wb', buffering=0).write(bytes(9999))",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        stdout=subprocess.DEVNULL,
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "File too large" in err and len(err.splitlines()) == 1
