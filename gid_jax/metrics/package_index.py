"""One file of a package from the index that pip is configured with, without pip.

pip itself would run the setup.py of a source archive to learn its name. The index's pages (PEP 503) say where the file
is; whoever calls checks its sha256.
"""

import ast
import base64
import http.client
import io
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from gid_jax.progress import progress

_UVS = (("UV_INDEX_URL", "index-url"), ("UV_DEFAULT_INDEX", "index-url"), ("UV_FIND_LINKS", "find-links"))
TIMEOUT = 30.0  # s without an answer
_FAILURES = (OSError, ValueError, http.client.HTTPException)


class FetchError(Exception):
    """Why the file could not be had, in a few words."""


def fetch(package: str, archive: str) -> bytes:
    """The content of `archive`, a file of `package`. Raises FetchError."""
    settings, reasons = configuration(), []
    for page in _pages(settings, package):
        try:
            if "://" not in page:
                if (Path(page) / archive).is_file():
                    return (Path(page) / archive).read_bytes()
                continue
            context = ssl.create_default_context(cafile=settings["cert"]) if settings.get("cert") else None
            text = _read(page, context).decode("utf-8", "replace")
            link = next((link for link in _links(text) if _file_name(link) == archive), None)
            if link is not None:
                return _read(_with_login(urljoin(page, link), page), context, bar=archive)
            reasons.append("the index does not have it")
        except _FAILURES as error:
            reasons.append(str(getattr(error, "reason", None) or error))
    raise FetchError("; ".join(dict.fromkeys(reasons)) or "pip is configured with no index")


def configuration() -> dict[str, str]:
    """pip's settings, or uv's where pip has none: `index-url`, `extra-index-url`, `find-links`, `no-index`, `cert`."""
    settings = {ours: os.environ[theirs].replace(",", " ") for theirs, ours in _UVS if os.environ.get(theirs)}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True).stdout
    found = []
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in ("global", "download", ":env:"):
            found.append((("global", "download", ":env:").index(section), option, str(ast.literal_eval(value))))
    return settings | {option: value for _, option, value in sorted(found)}


def _pages(settings: dict[str, str], package: str) -> list[str]:
    """Folders and pages that may know the package's files: those of find-links, then those of the indexes."""
    places = []
    for place in settings.get("find-links", "").split():
        path = url2pathname(urlsplit(place).path) if place.startswith("file:") else place
        places.append(path if "://" in path else str(Path(path).expanduser()))
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return places
    indexes = [settings.get("index-url") or _pips_own(), *settings.get("extra-index-url", "").split()]
    name = re.sub(r"[-_.]+", "-", package).lower()
    return places + [f"{index.rstrip('/')}/{name}/" for index in indexes]


def _pips_own() -> str:
    """The index that pip takes where nothing is configured."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError as error:
        raise FetchError("no pip here and no index configured: set PIP_INDEX_URL") from error
    return PyPI.simple_url


def _read(url: str, context: ssl.SSLContext | None, bar: str = "") -> bytes:
    """What `url` (http, https or file) answers, with a progress bar called `bar`."""
    if url.startswith("file:") and url.endswith("/"):
        url += "index.html"
    parts = urlsplit(url)
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    request.add_header("Accept", "text/html, */*;q=0.1")
    request.add_header("User-Agent", "gid_jax")
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as answer:
        if not bar:
            return answer.read()
        content, total = io.BytesIO(), int(answer.headers.get("Content-Length") or 0)
        with progress(name=bar, total=total or None, unit="B") as shown:
            while block := answer.read(1 << 20):
                content.write(block)
                shown.update(len(block))
        if total and content.tell() != total:
            raise OSError(f"the connection ended after {content.tell() / 1e6:.0f} of {total / 1e6:.0f} MB")
        return content.getvalue()


def _with_login(url: str, page: str) -> str:
    """`url` with the login of `page`, where both are of one host."""
    theirs, ours = urlsplit(url), urlsplit(page)
    same = theirs.hostname == ours.hostname and not theirs.username
    return urlunsplit(theirs._replace(netloc=ours.netloc)) if same and ours.username else url


def _file_name(link: str) -> str:
    return unquote(urlsplit(link).path).rpartition("/")[2]


def _links(page: str) -> Iterator[str]:
    found: list[str] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if tag == "a" and name == "href" and value)

    Anchors().feed(page)
    return iter(found)
