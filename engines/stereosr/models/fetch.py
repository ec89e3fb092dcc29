"""Fetching a file by HTTP: only where a person asks for it, whole or not at all, and checked where a hash is known."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from stereosr.atomic import named
from stereosr.errors import StereosrError, UsageError, reason

HUB = "https://huggingface.co/{}/resolve/main/{}"
TIMEOUT = 30.0
"""Seconds without an answer."""

CHUNK = 1 << 18


def address(source: str) -> str:
    """The URL of ``https://...``, or of ``hf:owner/repository/file`` on the Hugging Face hub.

    Raises:
        UsageError: for anything else.
    """
    if source.startswith("hf:"):
        owner, _, rest = source.removeprefix("hf:").partition("/")
        repository, _, file = rest.partition("/")
        if not file:
            raise UsageError(f"{source}: write hf:owner/repository/file")
        return HUB.format(f"{owner}/{repository}", file)
    if urlparse(source).scheme not in ("http", "https"):
        raise UsageError(f"{source} is no address: give https://... or hf:owner/repository/file")
    return source


def fetch(source: str, target: Path, sha256: str | None, progress: Callable[[int, int | None], None]) -> None:
    """Write what lies at ``source`` to ``target``.

    With a hash, what an interrupted call left is gone on from by the next: the hash proves the whole. Without one it
    starts anew.

    Args:
        source: as of ``address``.
        target: the file to write; one that is there is replaced.
        sha256: of the whole file, in hexadecimal; None where it is not known.
        progress: called with the bytes that are there and those of the whole, None where the server does not say.

    Raises:
        UsageError: if the address is none.
        StereosrError: if the server is not reached, has no such file, goes away, or sends something else.
    """
    url, part = address(source), target.with_name(f".{target.name}.download")
    with named(target):
        if sha256 is None:
            part.unlink(missing_ok=True)
        there = part.stat().st_size if part.exists() else 0
        try:
            _download(url, part, there, progress)
        except urllib.error.HTTPError as error:
            part.unlink(missing_ok=True)
            raise StereosrError(f"{url}: {error.code} {error.reason}: check the address") from error
        except urllib.error.URLError as error:
            raise StereosrError(
                f"{urlparse(url).netloc} is not reached ({error.reason}): is this machine online?"
            ) from error
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            again = "run it again to go on" if sha256 else "run it again"
            raise StereosrError(f"{url}: the connection broke off ({reason(error)}): {again}") from error
        found = hashlib.sha256(part.read_bytes()).hexdigest()
        if sha256 and found != sha256.lower():
            part.unlink()
            raise StereosrError(f"{url} has sha256 {found}, not {sha256.lower()}: do not use it")
        part.replace(target)


def _download(url: str, part: Path, there: int, progress: Callable[[int, int | None], None]) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # all of it is there
    with response:
        goes_on = response.status == http.client.PARTIAL_CONTENT
        done = there if goes_on else 0
        length = response.headers.get("Content-Length")
        whole = done + int(length) if length else None
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, whole)
        if whole is not None and done < whole:
            raise http.client.IncompleteRead(b"", whole - done)
