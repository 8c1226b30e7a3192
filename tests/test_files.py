"""Results that people name: refused beforehand, whole or absent, never over what they are made of."""

import errno
import os

import pytest

from gid_jax import files
from gid_jax.errors import UserError


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "v.txt"
    link.symlink_to(tmp_path / "there" / "real.txt")
    for text in ("new", "again"):  # the first through a link that points to nothing yet
        files.write_text(files.check_file(link), text)
        assert link.is_symlink() and (tmp_path / "there" / "real.txt").read_text() == text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["real.txt", "there", "v.txt"]


@pytest.mark.parametrize("name", ["a" * 255, "12:30", "-v", "a b\nc", "50%d", os.fsdecode(b"\xff\xfe"), "~"])
def test_every_name_that_a_file_can_have(tmp_path, name):
    files.write_text(files.check_file(tmp_path / name), "x")
    assert os.listdir(tmp_path) == [name]


def test_what_cannot_be_written_is_refused_beforehand(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    cases = {"a" * 256: "too long", "file/v": "directory", "loop": "link", "pipe": "pipe", "": "folder"}
    for name, clue in cases.items():
        with pytest.raises(UserError, match=rf"--xt_slice=.*{clue}"):
            files.check_file(tmp_path / name, flag="--xt_slice")
    with pytest.raises(UserError, match="device"):
        files.check_file("/dev/full")
    monkeypatch.setattr(files.Path, "stat", lambda path: (_ for _ in ()).throw(PermissionError(errno.EACCES, "denied")))
    with pytest.raises(UserError, match="denied"):
        files.check_file(tmp_path / "v")
    assert sorted(os.listdir(tmp_path)) == ["file", "loop", "pipe"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_nothing_is_left_and_the_old_stays(tmp_path, error):
    path = tmp_path / "v"
    path.write_text("old")
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as raised, files.written(path, "--motion_map") as partial:
        partial.write_text("half")
        raise error
    if expected is UserError:
        assert "--motion_map=" in str(raised.value) and "make room" in str(raised.value)
    assert os.listdir(tmp_path) == ["v"] and path.read_text() == "old"


def test_a_folder_is_replaced_whole_or_stays(tmp_path):
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(KeyboardInterrupt), files.written_folder(folder) as partial:
        (partial / "new").touch()
        raise KeyboardInterrupt
    assert [os.listdir(tmp_path), os.listdir(folder)] == [["b"], ["old"]]
    with files.written_folder(folder) as partial:
        (partial / "new").touch()
    assert [os.listdir(tmp_path), os.listdir(folder)] == [["b"], ["new"]]


def test_outputs_are_apart_from_inputs_and_each_other(tmp_path, monkeypatch):
    photo = tmp_path / "photo.png"
    photo.touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "hard.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "new.png")
    files.check_apart({"the photo": [photo]}, {"--out": [tmp_path / "new.png"], "--xt_slice": [tmp_path / "x.png"]})
    for twin in ("photo.png", "./a/../photo.png", "link.png", "hard.png"):
        with pytest.raises(UserError, match=r"--out=.*the photo"):
            files.check_apart({"the photo": [photo]}, {"--out": [tmp_path / "x.png", tmp_path / twin]})
    for one, other in [("new.png", "a/../new.png"), ("dangling.png", "new.png")]:
        with pytest.raises(UserError, match=r"--motion_map=.*--out"):
            files.check_apart({}, {"--out": [tmp_path / one], "--motion_map": [tmp_path / other]})
    upper = {"--out": [tmp_path / "new.png"], "--motion_map": [tmp_path / "NEW.png"]}
    monkeypatch.setattr(files, "_folds", lambda folder: False)
    files.check_apart({}, upper)
    monkeypatch.setattr(files, "_folds", lambda folder: True)  # as on macOS
    with pytest.raises(UserError, match="--motion_map"):
        files.check_apart({}, upper)
