"""What the machine lends: memory within a container's limits, the cache folder, versions for records."""

import sys
from pathlib import Path

import psutil
import pytest

from stereosr.system import available_memory, cache_dir, format_bytes, machine

MIB = 2**20


def group(root: Path, name: str, limit: int | str, used: int, cached: int, version: int = 2) -> None:
    """A control group, in the files in which Linux shows it."""
    folder = root / ("sys/fs/cgroup" if version == 2 else "sys/fs/cgroup/memory") / name
    folder.mkdir(parents=True, exist_ok=True)
    files = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (folder / files[0]).write_text(f"{limit}\n")
    (folder / files[1]).write_text(f"{used}\n")
    name = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 1\n{name} {cached}\nactive_file 12345\n")


def process(root: Path, *lines: str) -> Path:
    """Says which groups this process is in."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    class Free:
        available = 1000 * MIB
        total = 2000 * MIB

    monkeypatch.setattr(psutil, "virtual_memory", Free)


def test_without_a_limit_memory_is_what_the_machine_has_free(tmp_path):
    assert available_memory(tmp_path) == 1000 * MIB  # no Linux
    group(process(tmp_path, "0::/user"), "user", "max", 5 * MIB, 0)
    assert available_memory(tmp_path) == 1000 * MIB


def test_a_container_s_limit_holds_less_what_is_used_but_for_what_can_be_dropped(tmp_path):
    group(process(tmp_path, "0::/"), "", 300 * MIB, 120 * MIB, 20 * MIB)
    assert available_memory(tmp_path) == 200 * MIB


def test_the_tightest_of_all_groups_around_the_process_holds(tmp_path):
    process(tmp_path, "0::/slurm/job")
    group(tmp_path, "slurm/job", "max", 100 * MIB, 0)
    group(tmp_path, "slurm", 400 * MIB, 100 * MIB, 0)
    assert available_memory(tmp_path) == 300 * MIB
    group(tmp_path, "slurm/job", 150 * MIB, 100 * MIB, 0)
    assert available_memory(tmp_path) == 50 * MIB


def test_the_first_version_of_control_groups(tmp_path):
    process(tmp_path, "9:name=systemd:/", "4:cpu,memory:/docker/1f", "3:cpuset:/", "0::/")
    group(tmp_path, "", 2**63 - 4096, 900 * MIB, 0, version=1)
    assert available_memory(tmp_path) == 1000 * MIB
    group(tmp_path, "docker/1f", 250 * MIB, 60 * MIB, 10 * MIB, version=1)
    assert available_memory(tmp_path) == 200 * MIB


def test_a_limit_that_is_passed_leaves_nothing(tmp_path):
    group(process(tmp_path, "0::/"), "", 100 * MIB, 101 * MIB, 0)
    assert available_memory(tmp_path) == 0


def test_this_very_machine():
    assert 0 < available_memory() <= 1000 * MIB


class TestCacheFolder:
    def test_stereosr_home_comes_first(self, monkeypatch, tmp_path):
        monkeypatch.setenv("STEREOSR_HOME", str(tmp_path / "mine"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_dir() == tmp_path / "mine"

    @pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
    def test_then_the_user_s_caches(self, monkeypatch, tmp_path):
        monkeypatch.delenv("STEREOSR_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert cache_dir() == tmp_path / ".cache/stereosr"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_dir() == tmp_path / "xdg/stereosr"


def test_a_record_names_whatever_of_our_requirements_and_extras_is_installed():
    versions = machine()["versions"]
    assert {"stereosr", "numpy", "pillow", "opencv-python-headless"} <= versions.keys()
    assert all(versions.values())


def test_memory_is_written_as_people_read_it() -> None:
    written = [format_bytes(count) for count in (0, 1024, 300 * MIB, 1023 * MIB, 1024 * MIB, 1536 * MIB)]
    assert written == ["0 KiB", "1 KiB", "300 MiB", "1023 MiB", "1.0 GiB", "1.5 GiB"]
