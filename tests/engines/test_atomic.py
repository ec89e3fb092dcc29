"""Files appear whole or not at all, whoever else writes them."""

import hashlib
import os
import subprocess
import sys
import time

import pytest

from shared_data import ROOT
from stereosr.atomic import write_all, write_bytes
from stereosr.errors import StereosrError


def test_two_processes_may_write_one_target(tmp_path):
    target = tmp_path / "a.png"
    writer = [sys.executable, str(ROOT / "tests/workers/write_often.py"), str(target)]
    writers = [subprocess.Popen([*writer, letter], stderr=subprocess.PIPE, text=True) for letter in "ab"]
    assert [(w.communicate()[1], w.returncode) for w in writers] == [("", 0), ("", 0)]
    content = target.read_bytes()
    assert content in (b"a" * len(content), b"b" * len(content))
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_goes_in_time(tmp_path):
    write_bytes(tmp_path / "a.png", b"1")
    with pytest.raises(StereosrError):
        write_all([(tmp_path / "a.png", b"2"), (tmp_path / "no/b.png", b"2")])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"1"
    name = hashlib.sha256(b"a.png").hexdigest()[:16]
    old, new = (tmp_path / f".{name}.{i}.part" for i in "01")
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    write_bytes(tmp_path / "a.png", b"3")
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", new.name}
