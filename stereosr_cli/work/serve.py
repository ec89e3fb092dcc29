"""``stereosr serve``, behind its options: the application in uvicorn."""

import ipaddress
import socket
from dataclasses import dataclass

import click

from stereosr.errors import StereosrError
from stereosr_cli.extras import need


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The options of the command, by their names; ``max_body`` in bytes, ``max_pixels`` in pixels."""

    host: str
    port: int
    token: str | None
    queue: int
    max_body: int
    max_pixels: int
    backend: str
    gpu: int | None
    threads: int | None


def serve(options: ServeOptions) -> None:
    """Serve until interrupted."""
    need("starlette", "uvicorn", "python_multipart", extra="serve")
    import uvicorn

    from stereosr_cli.server.app import Limits, create
    from stereosr_cli.server.jobs import Jobs

    limits = Limits(
        body=options.max_body,
        pixels=options.max_pixels,
        token=options.token,
        hosts=frozenset({"localhost", "127.0.0.1", "::1", options.host}) if _is_loopback(options.host) else None,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    with socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
            listener.listen()
        except OSError as error:
            where = f"{host}:{options.port}"
            raise StereosrError(f"cannot listen at {where}: {error.strerror or error}; pass another --port") from error
        click.echo(f"serving at http://{host}:{listener.getsockname()[1]} · Ctrl-C ends it", err=True)
        jobs = Jobs(options.backend, options.gpu, options.threads, options.queue)
        config = uvicorn.Config(
            create(jobs, limits),
            log_level="warning",
            access_log=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
