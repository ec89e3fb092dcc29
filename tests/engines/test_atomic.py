"""Files appear whole or not at all, whoever else writes them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared_data import ROOT
from stereosr.atomic import write_all, write_bytes
from stereosr.errors import StereosrError


def test_two_processes_may_write_one_target(tmp_path):
    target = tmp_path / "a.png"
    writer = [sys.executable, str(ROOT / "tests/workers/write_often.py"), str(target)]
    writers = [subprocess.Popen([*writer, letter], stderr=subprocess.PIPE, text=True) for letter in "ab"]
    assert [(w.communicate(timeout=120)[1], w.returncode) for w in writers] == [("", 0), ("", 0)]
    content = target.read_bytes()
    assert content in (b"a" * len(content), b"b" * len(content))
    assert list(tmp_path.iterdir()) == [target]


def test_two_writes_of_one_target_at_a_time(tmp_path):
    target = tmp_path / "a.png"

    def files():
        yield target, b"first"
        write_bytes(target, b"second")
        assert target.read_bytes() == b"second"

    write_all(files())
    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_of_two_files_none_is_written_if_one_cannot_be(tmp_path):
    write_bytes(tmp_path / "a.png", b"1")
    with pytest.raises(StereosrError):
        write_all([(tmp_path / "a.png", b"2"), (tmp_path / "no/b.png", b"2")])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"1"


def killed(target: Path) -> Path:
    """What a process leaves that is killed when it has written all but the name."""
    command = [sys.executable, str(ROOT / "tests/workers/die_writing.py"), str(target)]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == 9
    (part,) = target.parent.iterdir()
    return part


def test_what_a_killed_process_left_goes_when_the_file_is_written(tmp_path):
    target = tmp_path / "a.png"
    assert killed(target).read_bytes() == b"half"
    write_bytes(target, b"whole")
    assert list(tmp_path.iterdir()) == [target]


def test_what_may_be_another_machines_goes_a_day_later(tmp_path):
    target = tmp_path / "a.png"
    part = killed(target)
    _, name, machine, *rest = part.name.split(".")
    elsewhere = part.rename(tmp_path / ".".join(["", name, machine[::-1] + "0", *rest]))
    write_bytes(target, b"whole")
    assert set(tmp_path.iterdir()) == {target, elsewhere}
    os.utime(elsewhere, (time.time() - 100_000,) * 2)
    write_bytes(target, b"whole")
    assert list(tmp_path.iterdir()) == [target]
