"""Fetching files, from a real server on loopback: whole or not at all, and never something else."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stereosr.errors import StereosrError, UsageError
from stereosr.models.fetch import address, fetch

CONTENT = bytes(range(256)) * 3000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(HTTPServer):
    """``/model`` is there, ``/moved`` leads to it, ``/broken`` breaks off half-way as long as ``breaks`` says."""

    breaks = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.url("model"))
            self.end_headers()
        elif self.path in ("/model", "/broken", "/ignores-ranges"):
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/ignores-ranges" else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            breaks = self.path == "/broken" and self.server.breaks
            self.wfile.write(CONTENT[start : len(CONTENT) // 2] if breaks else CONTENT[start:])
        else:
            self.send_error(404)

    def log_message(self, format: str, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)


def ignore(_done: int, _whole: int | None) -> None:
    pass


@pytest.mark.parametrize("path", ["model", "moved"])
@pytest.mark.parametrize("sha256", [None, SHA256, SHA256.upper()])
def test_a_file_comes_whole(server: Server, tmp_path: Path, path: str, sha256: str | None) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(server.url(path), tmp_path / "a", sha256, lambda done, whole: seen.append((done, whole)))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("path", ["broken", "ignores-ranges"])
def test_with_a_hash_what_broke_off_is_gone_on_from(server: Server, tmp_path: Path, path: str) -> None:
    with pytest.raises(StereosrError, match=r"broke off .*: run it again to go on"):
        fetch(server.url("broken"), tmp_path / "a", SHA256, ignore)
    assert not (tmp_path / "a").exists()
    server.breaks = False
    fetch(server.url(path), tmp_path / "a", SHA256, ignore)
    assert server.asked[-1] == (f"/{path}", f"bytes={len(CONTENT) // 2}-")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_without_a_hash_it_starts_anew(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StereosrError, match=r"run it again$"):
        fetch(server.url("broken"), tmp_path / "a", None, ignore)
    server.breaks = False
    fetch(server.url("broken"), tmp_path / "a", None, ignore)
    assert server.asked[-1] == ("/broken", None)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_all_of_it_there_but_for_the_last_step(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.download").write_bytes(CONTENT)
    fetch(server.url("model"), tmp_path / "a", SHA256, ignore)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_another_hash_and_a_file_that_is_not_there_leave_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StereosrError, match=f"has sha256 {SHA256}, not {'0' * 64}: do not use it"):
        fetch(server.url("model"), tmp_path / "a", "0" * 64, ignore)
    with pytest.raises(StereosrError, match="404 Not Found: check the address"):
        fetch(server.url("nothing"), tmp_path / "a", None, ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_is_offline_is_told(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(StereosrError, match=rf"127\.0\.0\.1:{port} is not reached .*: is this machine online\?"):
            fetch(f"http://127.0.0.1:{port}/a", tmp_path / "a", None, ignore)


def test_what_an_address_is() -> None:
    assert address("hf:me/models/x4/a.onnx") == "https://huggingface.co/me/models/resolve/main/x4/a.onnx"
    for source in ("hf:me/models", "hf:", "file:///etc/passwd", "a.onnx", "ftp://host/a"):
        with pytest.raises(UsageError, match=r"hf:owner/repository/file"):
            address(source)
