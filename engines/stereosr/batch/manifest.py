"""What a job has done so far, kept in a file, so that a stopped job resumes and replaces nothing but its own files.

The file has a line of JSON for each time that an item's results are about to appear, ``started``, and for each time
that they are all there, ``done``. An item goes by its key, which stands for its sources, its settings and its targets.
A ``started`` line says which files come, and the sha256 of each: what lies at a target is ours only if it is that.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from stereosr.batch.item import Item
from stereosr.errors import StereosrError, reason

MANIFEST = "stereosr-manifest.jsonl"


def manifest_name(shard: tuple[int, int] | None) -> str:
    """What the manifest of a job is called; each of several machines that share one writes its own."""
    return MANIFEST if shard is None else "stereosr-manifest-{}-of-{}.jsonl".format(*shard)


class Ledger(Protocol):
    """What a job asks of its manifest, wherever that is kept; see ``Manifest``."""

    def name(self, target: Path) -> str: ...

    def is_done(self, key: str, item: Item) -> bool: ...

    def strangers(self, key: str, item: Item) -> list[Path]: ...

    def start(self, key: str, item: Item, digests: Mapping[Path, str]) -> None: ...

    def finish(self, key: str, item: Item) -> None: ...


class Manifest:
    """The manifest at ``path``, read once; with None, a job that remembers nothing.

    What other shards of the job noted in the same folder counts as well, so that it may go on in other shards, or in
    none. They are read where a job begins: two that do the same item at once are not kept apart.

    Raises:
        StereosrError: if there is one that cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._done: set[str] = set()
        self._written: dict[tuple[str, str], set[str]] = {}  # key and target to the sha256 of what was written there
        if path is None:
            return
        for file in sorted({*path.parent.glob("stereosr-manifest*.jsonl"), *([path] if path.exists() else [])}):
            self._read(file)

    def _read(self, file: Path) -> None:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise StereosrError(f"cannot read {file}: {reason(error)}") from error
        if file == self._path and not text.endswith("\n"):
            self._append("")  # what follows a line that was cut short begins a new one
        for line in text.splitlines():
            try:
                self._learn(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a line that was cut short, or that is not ours, says nothing

    def name(self, target: Path) -> str:
        """What a target is called here: relative to the manifest, so that a folder can be moved with its manifest."""
        return target_name(self._path, target)

    def is_done(self, key: str, item: Item) -> bool:
        """Whether an earlier run did the item, and its results are still there."""
        return key in self._done and all(target.exists() for target in item.targets)

    def strangers(self, key: str, item: Item) -> list[Path]:
        """The files at an item's targets that no run of this very item has written."""
        return [target for target in item.targets if os.path.lexists(target) and not self._is_ours(key, target)]

    def start(self, key: str, item: Item, digests: Mapping[Path, str]) -> None:
        """Note that files with these sha256 are about to appear. Raises StereosrError where that cannot be written."""
        self._note(key, item, "started", {self.name(target): digest for target, digest in digests.items()})

    def finish(self, key: str, item: Item) -> None:
        """Note that the files are there. Raises StereosrError where that cannot be written."""
        self._note(key, item, "done", {})

    def _is_ours(self, key: str, target: Path) -> bool:
        known = self._written.get((key, self.name(target)))
        return known is not None and target.is_file() and file_sha256(target) in known

    def _learn(self, row: dict[str, object]) -> None:
        key, files = str(row["key"]), row["files"]
        if row["state"] == "done":
            self._done.add(key)
        elif isinstance(files, dict):
            self._done.discard(key)
            for name, digest in files.items():
                self._written.setdefault((key, name), set()).add(digest)

    def _note(self, key: str, item: Item, state: str, files: dict[str, str]) -> None:
        if self._path is not None:
            self._append(json.dumps({"key": key, "state": state, "name": item.name, "files": files}))

    def _append(self, line: str) -> None:
        assert self._path is not None
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise StereosrError(f"cannot write {self._path}: {reason(error)}") from error


def target_name(manifest: Path | None, target: Path) -> str:
    """As ``Manifest.name``, where only the manifest's path is at hand."""
    target = target.absolute()
    folder = target.parent if manifest is None else manifest.absolute().parent
    return target.relative_to(folder).as_posix() if target.is_relative_to(folder) else str(target)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, in hex, read in pieces. Raises StereosrError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StereosrError(f"cannot read {path}: {reason(error)}") from error
