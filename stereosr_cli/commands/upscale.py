"""``stereosr upscale``: pairs, stereo files and folders made larger."""

from pathlib import Path
from typing import Any

import click
import cloup

from stereosr_cli import options


@cloup.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="LEFT RIGHT | PATH...")
@cloup.option_group(
    "Input",
    click.option("-l", "--left", help="Folder or glob of the left views; needs -r and -o."),
    click.option("-r", "--right", help="Folder or glob of the right views."),
    options.layout,
    click.option(
        "--swap",
        is_flag=True,
        help="Swap left and right before processing. With two files, outputs keep their input's name.",
    ),
    click.option(
        "--rectify",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Bring the right view onto the rows of the left one: where that wins a quarter of a row, wherever it "
        "can be measured, or never. A pair that is moved by parts of a pixel takes three times as long; views that "
        "cannot be aligned are upscaled each by itself.",
    ),
    click.option("--keep-geometry", is_flag=True, help="Align for the model only; the right result stays as it came."),
    click.option(
        "--trim", type=options.Span(), metavar="START:END", help="Part of a video, in seconds or as 1h02m03s."
    ),
)
@cloup.option_group(
    "Output",
    click.option(
        "-o",
        "--out",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Folder for the results; of one pair also the file, or -o LEFT -o RIGHT.  [default: beside the input]",
    ),
    click.option(
        "-s",
        "--scale",
        type=click.FloatRange(1, 16, min_open=True),
        shell_complete=options.complete_scale,
        help="How many times larger, as 2, 1.5 or 8; two models in a row beyond 4.  [default: 4]",
    ),
    click.option("--width", type=click.IntRange(1), help="Of one result in pixels, instead of -s; its shape is kept."),
    click.option("--height", type=click.IntRange(1), help="Likewise; with both the result fits into them."),
    click.option("--max-size", type=click.IntRange(1), help="The longer side of a result at most, in pixels."),
    click.option(
        "--out-layout",
        type=click.Choice(["same", *options.LAYOUTS, "anaglyph", "wiggle"]),
        default="same",
        show_default=True,
        help="What is written; wiggle is an animation of both views in turn.",
    ),
    click.option(
        "-f",
        "--format",
        "file_format",
        type=click.Choice(["png", "jpg", "webp", "tiff", "bmp", "gif"]),
        help="Of the files written; gif for wiggle only.  [default: as read; webp for wiggle]",
    ),
    click.option(
        "-q",
        "--quality",
        type=click.IntRange(1, 100),
        help="Of JPEG and WebP files, and videos.",
    ),
    click.option("--suffix", help="Put behind the file's name.  [default: _x4 or _x2]"),
    click.option(
        "--depth",
        type=click.Choice(["auto", "8", "16"]),
        default="auto",
        help="Bits a sample of the files written.  [default: auto, as read]",
    ),
    click.option(
        "--codec", type=click.Choice(options.CODECS), help="Of videos.  [default: h264; hevc above 4096 pixels]"
    ),
    click.option("--preset", help="Of a video's encoder, e.g. medium; av1 has 0 to 13.  [default: the encoder's]"),
    click.option("--preview", type=click.IntRange(1), help="Write so many frames of a video as PNG, and nothing else."),
    click.option(
        "--html",
        type=click.Path(path_type=Path),
        help="A page to look at the first results beside bicubic, in one file.",
    ),
)
@cloup.option_group(
    "Model",
    click.option(
        "-n",
        "--model",
        multiple=True,
        shell_complete=options.complete_model,
        help="Name, .onnx or .engine file; several are averaged. auto: nafssr-t for clean pairs, nafssr-t-photo for "
        "video, for JPEG of quality 95 or less and other lossy files, and for noise of 3 of 255 or more.  "
        "[default: auto]",
    ),
    click.option(
        "--strength",
        type=click.FloatRange(0, 1),
        help="From 0, the model as it is, to 1, its photo engine: how much noise and JPEG artefacts are removed.",
    ),
    click.option(
        "-x",
        "--ensemble",
        is_flag=True,
        help="Self-ensemble: the mean over four flips; four times the work, a little better.",
    ),
)
@cloup.option_group(
    "Machine",
    options.backend,
    click.option(
        "-g", "--gpu", type=options.Gpu(), default=0, help="Number of the GPU; cpu to use none.  [default: 0]"
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp16", "fp32"]),
        default="auto",
        help="Of the model file.  [default: auto]",
    ),
    options.threads,
    click.option(
        "-t",
        "--tile",
        type=options.Tile(),
        default="auto",
        help="auto, none, N rows, or HxW, in LR pixels.  [default: auto]",
    ),
    click.option("--overlap", type=click.IntRange(0), help="LR rows that tiles share.  [default: the model's own]"),
    click.option(
        "--max-memory", type=options.Size(), help="For one tile's work, e.g. 2G.  [default: half of what is free]"
    ),
    click.option(
        "--max-disparity",
        type=click.IntRange(0),
        help="In LR pixels, if the width is split.  [default: as the pair shows]",
    ),
)
@cloup.option_group(
    "Job",
    click.option("--overwrite", is_flag=True, help="Write over existing files."),
    click.option("--resume", is_flag=True, help="Skip what an earlier run finished; always so for folders."),
    click.option(
        "--shard", type=options.Shard(), help="Do one of N parts of a folder, on each of N machines that share it."
    ),
    click.option(
        "--cluster",
        is_flag=False,
        flag_value="auto",
        metavar="[ADDRESS|local]",
        help="Do the pairs on all nodes of a Ray cluster, which share the folders: that at ADDRESS, the one that this "
        "machine is in, or one that is started here. On CPUs a worker takes a node, or --threads of it.",
    ),
    click.option("--fail-fast", is_flag=True, help="Stop at the first pair that fails."),
    click.option(
        "--dry-run", is_flag=True, help="Only say what would be done, how large, and about how long it takes."
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON line a pair on stdout."),
    click.option("--quiet", is_flag=True, help="Print errors only."),
    options.verbose,
)
def command(paths: tuple[Path, ...], **chosen: Any) -> int:
    """Make stereo pairs larger and sharper.

    LEFT RIGHT gives left_x4.png and right_x4.png beside the input. PATH may also be a folder of pairs (with -o), an
    .mpo or .jps photograph, or a side-by-side or over-under picture or video.

    Ends with 0 if all is done, 1 for a failure, 2 for wrong usage, 3 if some failed, 4 if the backend asked for cannot
    be used, 5 if the smallest tile does not fit into memory, 130 if interrupted. The job goes on if the reader of its
    output goes away, as with "--json | head -1".
    """
    from stereosr_cli.work.upscale import UpscaleOptions, upscale

    depth = chosen.pop("depth")
    return upscale(UpscaleOptions(**chosen, paths=paths, depth=None if depth == "auto" else int(depth)))
