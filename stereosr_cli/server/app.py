"""The service: an ASGI application. Nothing of a client but the suffix of a file name gets near the disk."""

import asyncio
import hmac
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image as Pil
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

import stereosr
from stereosr.errors import UsageError
from stereosr.models.library import AUTO, available_models
from stereosr_cli.options import LAYOUTS
from stereosr_cli.server.jobs import FORMATS, Job, Jobs, QueueFull, suffix_of
from stereosr_cli.server.jobs import Request as Wanted

HERE = Path(__file__).parent
WAIT = 3.0
"""Seconds that an answer is waited for before a client is told where to ask again."""

PATIENCE = 20.0
"""Seconds without a byte of a request's body."""

WRITTEN = (*LAYOUTS, "anaglyph")
POLICY = (
    b"default-src 'none'; connect-src 'self'; img-src blob: data:; style-src 'unsafe-inline'; "
    b"script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
FIELDS = {"left", "right", "file", "model", "scale", "layout", "out_layout", "format"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is refused.

    Attributes:
        body: most bytes of a request.
        pixels: most pixels of a file, before it is enlarged.
        token: that every request but ``/healthz`` and the page must bear; None for none.
        hosts: names that this service may be called by, which keeps web pages of other names out; None for any.
    """

    body: int
    pixels: int
    token: str | None
    hosts: frozenset[str] | None


def create(jobs: Jobs, limits: Limits) -> "Guard":
    """The application; ``jobs`` is closed when it ends."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(jobs.close)

    service = _Service(jobs, limits)
    routes = [
        Route("/", service.page),
        Route("/healthz", service.health),
        Route("/metrics", service.metrics),
        Route("/openapi.json", service.openapi),
        Route("/v1/models", service.models),
        Route("/v1/upscale", service.upscale, methods=["POST"]),
        Route("/v1/jobs/{id}", service.job, methods=["GET", "DELETE"]),
        Route("/v1/jobs/{id}/events", service.events),
        Route("/v1/jobs/{id}/result", service.result),
    ]
    handlers: Any = {HTTPException: _problem, ClientDisconnect: _gone}
    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), limits)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)


class _Service:
    """The handlers."""

    def __init__(self, jobs: Jobs, limits: Limits) -> None:
        self._jobs, self._limits = jobs, limits

    async def page(self, _request: Request) -> Response:
        return HTMLResponse((HERE / "page.html").read_text(encoding="utf-8"))

    async def openapi(self, _request: Request) -> Response:
        return Response((HERE / "openapi.json").read_bytes(), media_type="application/json")

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": stereosr.__version__, "waiting": self._jobs.waiting})

    async def metrics(self, _request: Request) -> Response:
        counters = self._jobs.counters
        lines = ["# TYPE stereosr_jobs_total counter"]
        lines += [f'stereosr_jobs_total{{state="{state}"}} {count}' for state, count in counters.jobs.items()]
        lines += ["# TYPE stereosr_refused_total counter", f"stereosr_refused_total {counters.refused}"]
        lines += ["# TYPE stereosr_seconds_total counter", f"stereosr_seconds_total {counters.seconds:.3f}"]
        lines += ["# TYPE stereosr_waiting gauge", f"stereosr_waiting {self._jobs.waiting}", ""]
        return PlainTextResponse("\n".join(lines), media_type="text/plain; version=0.0.4")

    async def models(self, _request: Request) -> Response:
        specs = [asdict(spec) for spec in available_models().values()]
        return JSONResponse({"default": AUTO, "models": specs})

    async def upscale(self, request: Request) -> Response:
        try:
            async with request.form(max_files=2, max_fields=10, max_part_size=1 << 20) as form:
                wanted = await self._wanted(form)
        except TimeoutError:
            raise HTTPException(408, f"no byte for {PATIENCE:.0f} s") from None
        try:
            job = self._jobs.submit(wanted)
        except QueueFull:
            raise HTTPException(429, "too many jobs wait: try again later", {"Retry-After": "10"}) from None
        if request.query_params.get("wait", "1") != "0" and await self._ended(job, request):
            return _outcome(job)
        return JSONResponse(job.describe(), 202, headers={"Location": f"/v1/jobs/{job.id}"})

    async def _wanted(self, form: FormData) -> Wanted:
        """The form, checked."""
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        if strange := (fields.keys() | files.keys()) - FIELDS:
            raise HTTPException(422, f"no field is named {min(strange):.60}: see /openapi.json")
        if files.keys() not in ({"left", "right"}, {"file"}):
            raise HTTPException(422, "send two files, left and right, or one, file, that holds both views")
        names = ("left", "right") if "left" in files else ("file",)
        try:
            scale = int(fields.get("scale", "4"))
            suffixes = [suffix_of(files[name].filename or "") for name in names]
        except UsageError as error:
            raise HTTPException(415, str(error)) from None
        except ValueError:
            raise HTTPException(422, f"scale is {fields['scale']!r:.40}: send 2 or 4") from None
        data = [await files[name].read() for name in names]
        for content in data:
            await asyncio.to_thread(self._check_pixels, content)
        return Wanted(
            files=tuple(zip(suffixes, data, strict=True)),
            model=_one_of(fields, "model", {spec.name for spec in available_models().values()}) or AUTO,
            scale=scale,
            layout=_one_of(fields, "layout", LAYOUTS),
            out_layout=_one_of(fields, "out_layout", WRITTEN),
            format=_one_of(fields, "format", FORMATS),
        )

    def _check_pixels(self, data: bytes) -> None:
        """By the header. What Pillow does not know is left to the reading, which has limits of its own."""
        pixels = 0
        with suppress(Exception), Pil.open(io.BytesIO(data)) as picture:  # of damaged files: almost any
            pixels = picture.width * picture.height
        if pixels > self._limits.pixels:
            raise HTTPException(413, f"{pixels / 1e6:.1f} megapixels, {self._limits.pixels / 1e6:.1f} may be sent")

    async def _ended(self, job: Job, request: Request) -> bool:
        """Whether a job ends within the time that is waited; it is cancelled if the client leaves."""
        for _ in range(int(WAIT / 0.05)):
            if job.finished.is_set():
                return True
            if await request.is_disconnected():
                self._jobs.cancel(job)
                raise ClientDisconnect
            await asyncio.sleep(0.05)
        return False

    def _find(self, request: Request) -> Job:
        job = self._jobs.find(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "no such job, or its result is no longer kept")
        return job

    async def job(self, request: Request) -> Response:
        job = self._find(request)
        if request.method == "DELETE":
            self._jobs.cancel(job)
            return Response(status_code=204)
        return JSONResponse(job.describe())

    async def result(self, request: Request) -> Response:
        job = self._find(request)
        if not job.finished.is_set():
            raise HTTPException(409, "not done yet")
        return _outcome(job)

    async def events(self, request: Request) -> Response:
        """Server-sent events: the job's description, whenever it changes."""
        job = self._find(request)

        async def stream() -> AsyncIterator[str]:
            last = None
            while True:
                ended, now = job.finished.is_set(), json.dumps(job.describe())
                if now != last:
                    yield f"data: {now}\n\n"
                    last = now
                if ended:
                    return
                await asyncio.sleep(0.1)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _one_of(fields: dict[str, str], name: str, known: Any) -> Any:
    """The value of a field that names one of what is known; None where it is not there or ``auto``."""
    value = fields.get(name, "auto")
    if value == "auto":
        return None
    if value not in known:
        raise HTTPException(422, f"{name} is {value!r:.60}: send one of {', '.join(sorted(known))}")
    return value


def _outcome(job: Job) -> Response:
    if job.state == "done":
        headers = {
            "Content-Disposition": f'attachment; filename="{job.name}"',
            "X-Stereosr-Job": job.id,
            "X-Stereosr-Warnings": json.dumps(job.warnings)[:4000],
        }
        return Response(job.result, media_type=job.media_type, headers=headers)
    if job.state == "cancelled":
        raise HTTPException(410, "the job was cancelled")
    raise HTTPException(422 if job.is_clients_fault else 500, job.error or "")


class Guard:
    """Around the application: who may call it, from where, how much they may send and how slowly."""

    def __init__(self, app: Starlette, limits: Limits) -> None:
        self.app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal:
            await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, send)
            return
        await self.app(scope, self._counted(receive), _hardened(send))

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = _host(headers.get("host", ""))
        if self._limits.hosts is not None and host not in self._limits.hosts:
            return 421, "this service is called by another name: start it with --host to be reached from elsewhere"
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin not in (None, "null") and urlsplit(str(origin)).hostname != host:
            return 403, "a page of another site may not send pictures here"
        bearer = f"Bearer {self._limits.token}"
        is_open = self._limits.token is None or path in ("/", "/healthz")
        if not is_open and not hmac.compare_digest(headers.get("authorization", "").encode(), bearer.encode()):
            return 401, "send the token: Authorization: Bearer ..."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limits.body:
            return 413, f"at most {self._limits.body / 2**20:.0f} MiB may be sent"
        return None

    def _counted(self, receive: Receive) -> Receive:
        """The body, as long as it comes and is not too much: a length need not be told, or be true."""
        got, whole = 0, False

        async def counted() -> Message:
            nonlocal got, whole
            message = await asyncio.wait_for(receive(), None if whole else PATIENCE)
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if got > self._limits.body:
                    raise HTTPException(413, f"at most {self._limits.body / 2**20:.0f} MiB may be sent")
            return message

        return counted


def _host(value: str) -> str:
    """Without the port; of an IPv6 address without its brackets."""
    with suppress(ValueError):
        return urlsplit(f"//{value}").hostname or ""
    return ""


def _hardened(send: Send) -> Callable[[Message], Awaitable[None]]:
    """Answers are what they say, are in no frame, and take nothing from elsewhere."""

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"x-content-type-options", b"nosniff"),
                (b"content-security-policy", POLICY),
                (b"referrer-policy", b"no-referrer"),
            ]
        await send(message)

    return hardened
