"""Which files a folder, a glob or a name with odd characters means."""

import os
from pathlib import Path

import pytest

from data_pipeline import sources
from gid_jax.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(videos: Path, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in sources.find_videos(str(videos))[0]]


def test_suffixes_of_cameras_and_phones_in_any_case(tmp_path):
    names = ["a.MTS", "b.3gp", "c.M2TS", "d.MOV", "e.h264", "f.dv", "sub/deep/g.Mp4", ".hidden.mp4"]
    touch(tmp_path, *names)
    assert found(tmp_path, tmp_path) == sorted(names, key=lambda name: tmp_path / name)


def test_what_is_left_out_is_counted(tmp_path):
    touch(tmp_path, "a.mp4", "a.npz", "b.npz", "notes.TXT", "README", "._a.mp4")
    paths, left_out = sources.find_videos(str(tmp_path))
    assert [path.name for path in paths] == ["._a.mp4", "a.mp4"]  # what the first one is, its reader says
    what = "not the name of a video"
    assert left_out == {f".npz: {what}": 2, f".txt: {what}": 1, f"no suffix: {what}": 1}
    (tmp_path / "a.mp4").unlink()
    (tmp_path / "._a.mp4").unlink()
    with pytest.raises(UserError, match=r"no video there \(2 left out: \.npz: not the name of a video; "):
        sources.find_videos(str(tmp_path))


def test_folders_behind_links_are_searched_once(tmp_path):
    touch(tmp_path / "elsewhere", "a.mp4")
    touch(tmp_path / "videos", "own/b.mp4")
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "videos" / "again").symlink_to(tmp_path / "videos" / "own")
    (tmp_path / "videos" / "own" / "circle").symlink_to(tmp_path / "videos")
    paths, left_out = sources.find_videos(str(tmp_path / "videos"))
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["videos/linked/a.mp4", "videos/own/b.mp4"]
    assert left_out == {"a link to a folder that is searched anyway": 2}


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "private/b.mp4")
    scan = os.scandir

    def guarded(path):
        if str(path).endswith("private"):  # permissions do not stop root
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    paths, left_out = sources.find_videos(str(tmp_path))
    assert [path.name for path in paths] == ["a.mp4"]
    assert left_out == {f"{tmp_path / 'private'}: the folder cannot be read (Permission denied)": 1}


@pytest.mark.parametrize("name", ["b[1].mp4", "what?.mp4", "*.mp4", "[!b].mp4", "clips[2]/**.mp4"])
def test_what_exists_is_meant_literally(tmp_path, name):
    touch(tmp_path, name, "b1.mp4", "whatx.mp4", "clips2/c.mp4")
    assert found(tmp_path / name, tmp_path) == [name]


def test_a_glob_below_a_literal_folder(tmp_path, monkeypatch):
    touch(tmp_path, "clips[2]/a.mp4", "clips[2]/b.mp4", "clips[2]/deep/c.mp4", "clips2/d.mp4")
    assert found(tmp_path / "clips[2]" / "*.mp4", tmp_path) == ["clips[2]/a.mp4", "clips[2]/b.mp4"]
    assert len(found(tmp_path / "clips[2]" / "**" / "*.mp4", tmp_path)) == 3
    assert found(tmp_path / "clips[2]", tmp_path)[0] == "clips[2]/a.mp4"
    assert found(tmp_path / "clips[0-9]" / "*.mp4", tmp_path) == ["clips2/d.mp4"]
    monkeypatch.chdir(tmp_path)
    assert sources.find_videos("clips[2]/[ab].mp4")[0] == [Path("clips[2]/a.mp4"), Path("clips[2]/b.mp4")]
    assert sources.find_videos("clips?/*.mp4")[0] == [Path("clips2/d.mp4")]


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [("b[1].mp4", ["b[1].mp4"]), ("/v/b[1].mp4", ["b[1].mp4"]), ("b[12].mp4", ["b1.mp4"]), ("*1.mp4", ["b1.mp4"])],
)
def test_patterns_of_holdout_and_loops(pattern, meant):
    paths = [Path("/v/b[1].mp4"), Path("/v/b1.mp4"), Path("/v/c.mp4")]
    glob = sources.literal_first(pattern, paths)
    assert [path.name for path in paths if sources.matches(str(path), glob)] == meant
    assert sources.literal_first(None, paths) is None
