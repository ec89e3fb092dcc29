"""``stereosr soup``: several trainings of one network become one network."""

from pathlib import Path

import click

from stereosr_cli import options


@click.command()
@click.argument("weights", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.scale("as the weights are")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="safetensors file to write.")
@click.option(
    "--greedy",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Folder that the weights were trained on: keep those only that do not lower the PSNR on its held-back scenes.",
)
@click.option("--overwrite", is_flag=True, help="Write over an existing file.")
def command(weights: tuple[Path, ...], scale: int | None, out: Path, greedy: Path | None, overwrite: bool) -> None:
    """Average several trainings of one network.

    WEIGHTS are files of the same model and scale; this needs stereosr[train].
    """
    from stereosr.atomic import write_bytes
    from stereosr.errors import UsageError
    from stereosr_cli.extras import need

    need("torch", "safetensors", extra="train")
    from safetensors.torch import save

    from stereosr_export.training import soup
    from stereosr_export.training.scenes import find_scenes, hold_back, read_scene

    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: pass --overwrite, or -o for another file")
    model, scale, states = soup.load_ingredients(weights, scale)
    if greedy:
        scenes = [read_scene(files, scale) for files in hold_back(find_scenes(greedy, scale))[1]]
        ingredients = dict(zip(map(str, weights), states, strict=True))
        mixed = soup.greedy(model, scale, ingredients, scenes, lambda line: click.echo(line, err=True))
    else:
        mixed = soup.uniform(states)
    write_bytes(out, save(mixed))
    click.echo(f"{out}: {model.name} x{scale}", err=True)
