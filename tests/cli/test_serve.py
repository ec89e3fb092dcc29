"""``stereosr serve``: a real server on loopback, a real browser, and clients of every kind."""

import contextlib
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from command import failed, in_process, wait_until
from fakes import FakeBackend
from shared_data import ROOT
from stereosr.io.images import Picture
from stereosr.io.layouts import encode_stereo
from stereosr.types import StereoPair

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("python_multipart")

from starlette.routing import Route  # noqa: E402

from stereosr_cli.server import app, jobs  # noqa: E402

CHROMIUM = shutil.which("chromium")
LIMITS = app.Limits(body=1 << 20, pixels=200_000, token=None, hosts=frozenset({"127.0.0.1"}))
BOUNDARY = "5c1e7a"


@dataclass
class Service:
    """A running server; ``gate`` holds the network back while it is clear."""

    port: int
    jobs: jobs.Jobs
    gate: threading.Event

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def post(self, fields: dict[str, object], query: str = "") -> tuple[int, dict[str, str], bytes]:
        body = form(fields)
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.ask("POST", f"/v1/upscale{query}", body, Content_Type=kind)

    def ended(self, job: dict[str, object]) -> dict[str, object]:
        """The job, once it has ended."""
        seen = [job]

        def ended() -> bool:
            seen.append(json.loads(self.ask("GET", f"/v1/jobs/{job['id']}")[2]))
            return seen[-1]["state"] not in ("queued", "running")

        wait_until(ended)
        return seen[-1]


def form(fields: dict[str, object]) -> bytes:
    """A multipart body; a value that is (name, bytes) is a file."""
    parts = []
    for name, value in fields.items():
        file = f'; filename="{value[0]}"' if isinstance(value, tuple) else ""
        content = value[1] if isinstance(value, tuple) else str(value).encode()
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content)
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@contextlib.contextmanager
def serving(limits: app.Limits = LIMITS, waiting: int = 4) -> Iterator[Service]:
    service = jobs.Jobs("auto", None, 1, waiting)
    server = uvicorn.Server(uvicorn.Config(app.create(service, limits), log_level="error", timeout_graceful_shutdown=1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        gate = threading.Event()
        gate.set()
        try:
            wait_until(lambda: server.started)
            yield Service(listener.getsockname()[1], service, gate)
        finally:
            gate.set()
            server.should_exit = True
            thread.join(60)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """With a network that repeats pixels; what is left in the temporary folder at the end is a fault."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with serving() as service:

        def through(pair: StereoPair) -> StereoPair:
            service.gate.wait(120)
            return pair

        def load(name: str, scale: int, **_: object) -> tuple[FakeBackend, Path]:
            return FakeBackend(through, name=name, scale=scale), Path(name)

        monkeypatch.setattr(jobs, "load", load)
        monkeypatch.setattr(jobs, "load_auto", partial(load, "fake"))
        yield service
    assert list(folder.iterdir()) == []


def picture(seed: int = 0, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 0)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def pair(**fields: object) -> dict[str, object]:
    return {"left": ("a.png", png(picture(0))), "right": ("b.png", png(picture(1))), "scale": 2, **fields}


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_two_files_come_back_as_a_zip_of_two(service: Service) -> None:
    status, headers, body = service.post(pair())
    assert (status, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == ["left_x2.png", "right_x2.png"]
        for name, seed in (("left_x2.png", 0), ("right_x2.png", 1)):
            assert np.array_equal(decoded(archive.read(name)), picture(seed).repeat(2, 0).repeat(2, 1))


def test_one_file_comes_back_as_one_in_the_layout_and_format_asked_for(service: Service) -> None:
    views = Picture(picture(0)), Picture(picture(1))
    mpo = encode_stereo(*views, "mpo", 95, Path("a.mpo"))
    status, headers, body = service.post({"file": ("x.MPO", mpo), "scale": 2, "out_layout": "sbs", "format": "png"})
    assert (status, headers["content-type"]) == (200, "image/png")
    assert decoded(body).shape == (48, 128, 3)
    joined = np.concatenate([picture(0), picture(1)], 1)
    status, _, body = service.post({"file": ("x.png", png(joined)), "scale": 2, "layout": "sbs"})
    assert status == 200
    assert np.array_equal(decoded(body), joined.repeat(2, 0).repeat(2, 1))


def test_the_documented_requests_are_answered(service: Service, tmp_path: Path) -> None:
    """As they stand there, but for the port."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    for name, seed in (("left.png", 0), ("right.png", 1)):
        (tmp_path / name).write_bytes(png(picture(seed)))
    views = Picture(picture(0)), Picture(picture(1))
    (tmp_path / "photo.mpo").write_bytes(encode_stereo(*views, "mpo", None, tmp_path / "photo.mpo"))
    lines = re.findall(r"^curl (.*)$", (ROOT / "docs/service.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        asked = [curl, "--silent", "--fail", *line.replace(":8000", f":{service.port}").split()]
        subprocess.run(asked, cwd=tmp_path, check=True, timeout=60)
    assert sorted(zipfile.ZipFile(tmp_path / "result.zip").namelist()) == ["left_x4.png", "right_x4.png"]
    assert decoded((tmp_path / "result.png").read_bytes()).shape[1] > 64


def test_what_takes_longer_is_a_job(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "WAIT", 0.1)
    service.gate.clear()
    status, headers, body = service.post(pair())
    job = json.loads(body)
    assert (status, headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert service.ask("GET", f"/v1/jobs/{job['id']}/result")[0] == 409
    service.gate.set()
    status, _, events = service.ask("GET", f"/v1/jobs/{job['id']}/events")
    told = [json.loads(line.removeprefix("data: ")) for line in events.decode().split("\n\n") if line]
    assert told[-1]["state"] == "done"
    assert told[-1]["done"] == told[-1]["tiles"] == 1
    assert service.ask("GET", f"/v1/jobs/{job['id']}/result")[0] == 200
    assert service.jobs.find(job["id"]).request.files == ()  # of what is kept, the result alone
    assert service.ask("DELETE", f"/v1/jobs/{job['id']}")[0] == 204
    assert service.ask("GET", f"/v1/jobs/{job['id']}")[0] == 404


def test_the_queue_is_bounded_and_jobs_are_cancelled(service: Service) -> None:
    service.gate.clear()
    accepted = [json.loads(service.post(pair(), "?wait=0")[2]) for _ in range(1)]
    first = f"/v1/jobs/{accepted[0]['id']}"
    wait_until(lambda: json.loads(service.ask("GET", first)[2])["state"] == "running")
    accepted += [json.loads(service.post(pair(), "?wait=0")[2]) for _ in range(4)]
    status, headers, _ = service.post(pair(), "?wait=0")
    assert (status, headers["retry-after"]) == (429, "10")
    for job in (accepted[0], accepted[2]):
        assert service.ask("DELETE", f"/v1/jobs/{job['id']}")[0] == 204
    service.gate.set()
    assert [service.ended(job)["state"] for job in accepted] == ["cancelled", "done", "cancelled", "done", "done"]
    assert service.ask("GET", f"/v1/jobs/{accepted[0]['id']}/result")[0] == 410
    metrics = service.ask("GET", "/metrics")[2].decode()
    assert 'stereosr_jobs_total{state="cancelled"} 2' in metrics
    assert "stereosr_refused_total 1" in metrics


def test_the_job_of_a_client_that_leaves_is_cancelled(service: Service) -> None:
    service.gate.clear()
    body = form(pair())
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        head = f"POST /v1/upscale HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        client.sendall(f"{head}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode() + body)
        wait_until(lambda: service.jobs._jobs)
    (job,) = service.jobs._jobs.values()
    wait_until(lambda: job.unwanted)
    service.gate.set()
    assert job.finished.wait(30)
    assert job.state == "cancelled"


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 422, "send two files, left and right, or one"),
        ({"left": ("a.png", b"")}, 422, "send two files"),
        (pair(scale="four"), 422, "scale is 'four': send 2 or 4"),
        (pair(model="no"), 422, "model is 'no': send one of"),
        (pair(layout="../etc"), 422, "layout is '../etc'"),
        (pair(format="exe"), 422, "format is 'exe'"),
        (pair(colour="red"), 422, "no field is named colour"),
        (pair(left=("a.mp4", b"x")), 415, ".mp4 is no picture"),
        (pair(left=("../../etc/passwd", b"x")), 415, "a name without a suffix is no picture"),
        (pair(left=("a.png", b"no picture")), 422, "left.png"),
        (pair(left=("a.png", png(picture(0, (20, 32))))), 422, "the views of a pair have one size"),
        (pair(left=("a.png", png(picture(0, (500, 500))))), 413, "megapixels"),
        ({"file": ("a.png", png(picture(0)))}, 422, "pair"),
        (pair(left=("a.png", bytes(2 << 20))), 413, "at most 1 MiB may be sent"),
    ],
)
def test_what_is_wrong_is_said(service: Service, fields: dict[str, object], status: int, words: str) -> None:
    found, _, body = service.post(fields)
    assert (found, words in json.loads(body)["error"]) == (status, True), (found, body)


def test_who_may_call() -> None:
    with serving(app.Limits(body=100, pixels=1, token="s3cret", hosts=frozenset({"127.0.0.1"}))) as guarded:
        assert guarded.ask("GET", "/healthz")[0] == guarded.ask("GET", "/")[0] == 200
        assert guarded.ask("GET", "/v1/models")[0] == 401
        assert guarded.ask("GET", "/v1/models", Authorization="Bearer s3cre")[0] == 401
        assert guarded.ask("GET", "/v1/models", Authorization="Bearer s3cret")[0] == 200
        assert guarded.ask("GET", "/healthz", Host="evil.example")[0] == 421
        bearer = "Bearer s3cret"
        status = guarded.ask("POST", "/v1/upscale", Origin="https://evil.example", Authorization=bearer)[0]
        assert status == 403
        _, headers, _ = guarded.ask("GET", "/")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_requests_from_many_clients_are_all_answered(service: Service) -> None:
    """Each with its picture, or by 429; and never more held than may be."""

    def client(number: int) -> int:
        status, _, body = service.post(pair(left=("a.png", png(picture(number))), out_layout="sbs", format="png"))
        if status == 200:
            assert np.array_equal(decoded(body)[:, :64], picture(number).repeat(2, 0).repeat(2, 1))
        return status

    with ThreadPoolExecutor(16) as clients:
        statuses = list(clients.map(client, range(200)))
    assert set(statuses) <= {200, 202, 429}
    assert statuses.count(200) > 4
    assert service.jobs.waiting == 0


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Starlette leaves closing to the collector
def test_malformed_requests_end_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies cut and changed anywhere, wrong lengths, wrong boundaries, odd names and headers: no 500, no trace."""
    monkeypatch.setattr(app, "PATIENCE", 0.3)
    whole = form(pair(left=("..\\..\\a\x00/é.png", png(picture(0)))))

    def attempt(number: int) -> int | None:
        damage = random.Random(number)
        body = bytearray(whole)
        for _ in range(damage.randrange(6)):
            body[damage.randrange(len(body))] = damage.randrange(256)
        body = body[: damage.choice([len(body), damage.randrange(len(body))])]
        length = damage.choice([len(body), len(body), 10 * len(body), len(body) // 2, -1, 10**15, "x"])
        boundary = damage.choice([BOUNDARY, BOUNDARY, "other", "", '"' * 9])
        path = damage.choice(["/v1/upscale", "/v1/upscale?wait=0", "/v1/upscale?wait=%00", "/v1/../../etc", "/v1/%ff"])
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n"
            head += f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n"
            with contextlib.suppress(OSError):
                client.sendall(head.encode() + body)
                answer = client.recv(64)
                return int(answer.split()[1]) if answer else None
        return None

    with ThreadPoolExecutor(8) as clients:
        seen = set(clients.map(attempt, range(300)))
    assert 500 not in seen
    assert service.post(pair())[0] == 200


def test_the_process_gives_the_bytes_of_the_command_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    left, right = (tmp_path / f"{name}.png" for name in ("left", "right"))
    for path in (left, right):
        cv2.imwrite(str(path), cv2.imread(str(ROOT / "examples" / path.name))[:48, :140])
    assert in_process("upscale", left, right, "-s", 2, "-o", tmp_path / "out").returncode == 0
    command = [sys.executable, "-W", "error", "-m", "stereosr_cli", "serve", "--port", "0", "-g", "cpu"]
    environment = os.environ | {"STEREOSR_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            found = re.search(r"serving at http://127\.0\.0\.1:(\d+)", process.stderr.readline())
            service = Service(int(found[1]), None, None)
            files = {p.stem: (p.name, p.read_bytes()) for p in (left, right)}
            job = json.loads(service.post({**files, "scale": 2}, "?wait=0")[2])
            assert service.ended(job)["state"] == "done"
            body = service.ask("GET", f"/v1/jobs/{job['id']}/result")[2]
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        finally:
            process.kill()  # nothing where it has ended
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        failed(in_process("serve", "--port", taken.getsockname()[1]), 1, "cannot listen at", "pass another --port")


def test_the_description_names_what_there_is() -> None:
    described = json.loads((ROOT / "stereosr_cli/server/openapi.json").read_text(encoding="utf-8"))
    worker = jobs.Jobs("auto", None, 1, 1)
    service = app.create(worker, LIMITS)
    worker.close()
    paths = {route.path for route in service.app.routes if isinstance(route, Route)} - {"/", "/openapi.json"}
    assert described["paths"].keys() == paths
    properties = described["paths"]["/v1/upscale"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert properties["properties"].keys() == app.FIELDS
    assert set(properties["properties"]["out_layout"]["enum"]) == {"auto", *app.WRITTEN}
    assert properties["properties"]["format"]["enum"] == list(jobs.FORMATS)


# --- the page, in a browser ------------------------------------------------------------------------------------------


class Browser:
    """Chromium, spoken to over its debugging pipe."""

    def __init__(self, profile: Path, size: str = "1400,1000") -> None:
        (to_read, to), (back, to_write) = os.pipe(), os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--window-size={size}"]
        script = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        command = ["bash", "-c", script, str(CHROMIUM), *flags, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            command,
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": str(profile.parent)},
        )
        os.close(to_read)
        os.close(to_write)
        self._to, self._back, self._number = os.fdopen(to, "wb"), os.fdopen(back, "rb"), 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    _session: str | None = None

    def call(self, method: str, **parameters: object) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self) -> bytes:
        got = bytearray()
        while not got.endswith(b"\0"):
            byte = self._back.read(1)
            assert byte, "the browser ended"
            got += byte
        return bytes(got[:-1])

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        for _ in range(1500):
            if found := self.value(expression):
                return found
            time.sleep(0.04)
        raise AssertionError(f"{expression} never came true: {self.value('document.body.innerText')}")

    def choose(self, *files: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(f) for f in files])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._to.close()
        self._process.terminate()
        self._process.wait(60)
        self._back.close()


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Callable[[str], Browser]]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium (apt-get install chromium)")
    opened: list[Browser] = []

    def browse(address: str) -> Browser:
        opened.append(Browser(tmp_path / f"profile{len(opened)}"))
        opened[-1].call("Page.navigate", url=address)
        opened[-1].wait("document.readyState === 'complete' && document.querySelector('#model').options.length > 0")
        return opened[-1]

    yield browse
    for browser in opened:
        browser.close()


def test_the_page(service: Service, browse: Callable[[str], Browser], tmp_path: Path) -> None:
    """A pair in the wrong order, a broken file, a cancelled job, two clients at once."""
    for name, seed in (("shot_L.png", 0), ("shot_R.png", 1)):
        (tmp_path / name).write_bytes(png(picture(seed)))
    (tmp_path / "broken.png").write_text("no picture")
    page, other = (browse(f"http://127.0.0.1:{service.port}/") for _ in range(2))
    for client in (page, other):
        client.value("document.querySelector('#scale').value = '2'")
        client.choose(tmp_path / "shot_R.png", tmp_path / "shot_L.png")
    for client in (page, other):
        assert client.wait("document.body.dataset.ready") == "left 64x48"
    pixel = "[...document.querySelector('#canvas').getContext('2d').getImageData(60, 40, 1, 1).data]"
    assert page.value(pixel)[:3] == picture(0).repeat(2, 0).repeat(2, 1)[40, 60].tolist()
    page.value("document.querySelector('#view').value = 'right'; draw()")
    assert page.value(pixel)[:3] == picture(1).repeat(2, 0).repeat(2, 1)[40, 60].tolist()
    page.choose(tmp_path / "broken.png", tmp_path / "shot_L.png")
    assert "broken" not in page.wait("document.querySelector('#message.bad')?.textContent")
    service.gate.clear()
    page.choose(tmp_path / "shot_R.png", tmp_path / "shot_L.png")
    page.wait("!document.querySelector('#cancel').hidden && job && job.state === 'running'")
    page.value("document.querySelector('#cancel').click()")
    assert page.wait("document.querySelector('#message').textContent === 'cancelled'")
    service.gate.set()
