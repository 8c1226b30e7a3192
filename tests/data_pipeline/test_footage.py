"""Captured footage is kept, and the benchmark that judges folders of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "footage.py"


def judge(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(BENCHMARK), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_strong_motion_of_captured_clips_is_kept(shared, tmp_path):
    done = judge(str(shared / "footage"), str(shared / "footage" / "LIST.tsv"), f"--cache={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout
    assert len(re.findall(r" 2/2 ", done.stdout)) >= 6  # of a fire that fills the picture the light changes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file\tverdict\nnothing.mp4\taccept", "line 2: no file"),
        ("file\tverdict\tcolour\na.mp4\taccept\tred", "unknown column 'colour'"),
        ("file\tverdict\nLIST.tsv\tmaybe", "no verdict 'maybe'"),
        ("file\nLIST.tsv", "needs the columns file and verdict"),
    ],
)
def test_a_bad_list_is_one_clear_line(tmp_path, table, message):
    (tmp_path / "LIST.tsv").write_text(table)
    done = judge(str(tmp_path), str(tmp_path / "LIST.tsv"))
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1 and message in done.stderr and "Traceback" not in done.stderr
