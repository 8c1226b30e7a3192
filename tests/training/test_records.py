"""metrics.jsonl where a file can be appended to and where it cannot."""

import json

import pytest
from etils import epath

from gid_jax.training import records


@pytest.mark.parametrize("kind", [records._Appended, records._Rewritten])
def test_lines_follow_those_that_were_kept(kind, tmp_path):
    path = epath.Path(tmp_path / "metrics.jsonl")
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    file = kind(path, ['{"step": 1}'])
    file.add('{"step": 2, "loss": 3.0}')
    file.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_object_storage_is_written_now_and_then(tmp_path, monkeypatch):
    path = epath.Path(tmp_path / "metrics.jsonl")
    file = records._Rewritten(path, [])
    file.add("1")
    assert not path.exists()
    monkeypatch.setattr(records, "INTERVAL", -1.0)
    file.add("2")
    assert path.read_text() == "1\n2\n"
