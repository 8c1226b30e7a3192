"""Signals: ignored ones stay so, a second Ctrl-C ends the process wherever it is."""

import signal
import subprocess
import sys

PROGRAM = """
import ctypes, os, signal
from gid_jax.training.stopping import StopSignal
with StopSignal() as stop:
    print(stop.requested(0), flush=True)
    sleep = ctypes.CDLL(None).poll  # not to be interrupted by Python, as XLA
    sleep(None, 0, 60_000)
    print(stop.requested(1), flush=True)
    sleep(None, 0, 60_000)
"""


def begin(**settings):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )
    assert process.stdout.readline() == "False\n"
    return process


def test_a_second_ctrl_c_ends_at_once():
    process = begin()
    process.send_signal(signal.SIGINT)
    while "again ends at once" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_what_the_shell_ignores_stays_ignored():
    process = begin(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "True\n"
    process.kill()
    assert "ends at once" not in process.communicate()[1]
