"""``stereosr serve``: an HTTP service and a page."""

import click

from stereosr_cli import options


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for a free one.")
@click.option("--token", envvar="STEREOSR_TOKEN", help="That clients must send, as 'Authorization: Bearer TOKEN'.")
@click.option("--queue", type=click.IntRange(1), default=16, show_default=True, help="Jobs that may wait.")
@click.option("--max-body", type=options.Size(), default="128M", show_default=True, help="Of a request.")
@click.option("--max-pixels", type=click.FloatRange(0.01), default=24, show_default=True, help="Megapixels of a file.")
@options.backend
@click.option("-g", "--gpu", type=options.Gpu(), default=0, help="Number of the GPU; cpu to use none.  [default: 0]")
@options.threads
@options.verbose
def command(
    host: str,
    port: int,
    token: str | None,
    queue: int,
    max_body: int,
    max_pixels: float,
    backend: str,
    gpu: int | None,
    threads: int | None,
) -> None:
    """Answer HTTP requests, and show a page to drop pictures on.

    This needs stereosr[serve]. POST /v1/upscale takes a form with the files left and right, or file; /openapi.json
    describes it all. Listens on this machine alone unless --host says otherwise.
    """
    from stereosr_cli.work.serve import ServeOptions, serve

    serve(
        ServeOptions(
            host=host,
            port=port,
            token=token,
            queue=queue,
            max_body=max_body,
            max_pixels=int(max_pixels * 1e6),
            backend=backend,
            gpu=gpu,
            threads=threads,
        )
    )
