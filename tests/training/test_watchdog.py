"""A process that gets nowhere ends by itself and says where it was."""

import subprocess
import sys

SCRIPT = """
import sys, time
from gid_jax.training.watchdog import Watchdog

with Watchdog(2) as watchdog:
    for step in range(int(sys.argv[1])):
        watchdog.alive(f"at step {step}, computing")
        time.sleep(0.5)
    if len(sys.argv) > 2:
        time.sleep(60)
time.sleep(3)
"""


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=50)


def test_a_stuck_process_ends_with_a_message():
    done = run("2", "hang")
    assert done.returncode == 75
    assert "stuck: process 0 of 1" in done.stderr and "at step 1, computing for 2 s (config.stuck_after)" in done.stderr


def test_steps_that_go_on_are_not_stuck_and_what_follows_is_not_watched():
    done = run("8")
    assert done.returncode == 0, done.stderr
