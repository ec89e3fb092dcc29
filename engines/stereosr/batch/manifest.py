"""What a job has done so far: a line of JSON an item, appended when it begins and when it is done."""

import contextlib
import json
from pathlib import Path

from stereosr.batch.item import Item
from stereosr.errors import StereosrError

MANIFEST = "stereosr-manifest.jsonl"


def read_manifest(path: Path | None) -> dict[str, str]:
    """The last state of every key: ``started`` (its files may be there in part) or ``done``."""
    if path is None or not path.exists():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        _append(path, "")  # what follows a line that was cut short begins a new one
    states = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError):  # a line cut short by a stop says nothing
            row = json.loads(line)
            states[row["key"]] = row["state"]
    return states


def record(path: Path | None, key: str, state: str, item: Item) -> None:
    """Append what became of an item. Raises StereosrError where the manifest cannot be written."""
    if path is not None:
        outputs = [str(t) for t in item.targets]
        _append(path, json.dumps({"key": key, "state": state, "name": item.name, "outputs": outputs}))


def _append(manifest: Path, line: str) -> None:
    try:
        with manifest.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise StereosrError(f"cannot write {manifest}: {error.strerror}") from error
