"""Every command and every piece of Python in the README and in docs/, run as it stands there, in that order."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from command import stereosr
from shared_data import ROOT
from stereosr import load_model
from stereosr.backends.registry import available_backends
from stereosr.io.images import read_picture
from stereosr.io.layouts import write_stereo

SHORTER = {
    "export --fp16": "export -s 4 --size 45x135 --fp16",
    r"--iterations \d+": "--iterations 2 --batch 1 --threads 1",
    r"^bench\b": "bench --rounds 1",
    r"^(train|train -n|export) (nafssr-t|gcssr)(?!.* triton)": r"\1 srcnn",  # NAFSSR-T takes over a minute to export
    "--init gcssr": "--init srcnn",
}
"""What a test cannot wait for."""

SLOW = r"^bench$|^bench KITTI2015 -s 4 -x|^models$|^export --fp16|--cluster"
"""What the tests of these commands cover, with smaller pictures or parts."""


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str) -> list[str]:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    return [block for text in texts for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def commands() -> list[str]:
    """Without ``stereosr``, each once, as pages repeat some."""
    lines = (line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines())
    return list(dict.fromkeys(line.removeprefix("stereosr ") for line in lines if line.startswith("stereosr ")))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the files that the commands speak of."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("*_x?.png"))
    for name in ("left", "right"):
        view = read_picture(ROOT / f"examples/{name}.png").pixels[30:75, 10:145, ::-1]
        scene = folder / "KITTI2015/hr/000000"
        scene.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(scene / f"hr{int(name == 'right')}.png"), cv2.resize(view, None, fx=4, fy=4))
        for target in (f"{name}.png", f"photos/a_{name}.png", f"cam{int(name == 'right')}/000.png"):
            (folder / target).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / target), view)
    shutil.copy(ROOT / "engines/stereosr/models/bundled/gcssr_x4.onnx", folder)
    left, right = (read_picture(folder / f"{name}.png") for name in ("left", "right"))
    write_stereo(folder / "photo.mpo", left, right, "mpo")
    write_stereo(folder / "film.png", left, right, "sbs")
    for name in ("a", "b"):
        (folder / "data/stereo" / name).mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8)
        for side in ("left", "right"):
            cv2.imwrite(str(folder / f"data/stereo/{name}/{side}.png"), cv2.resize(noise, (400, 160)))
    return folder


@pytest.mark.parametrize(
    "line", [pytest.param(c, id=c, marks=pytest.mark.slow if re.search(SLOW, c) else []) for c in commands()]
)
def test_a_command(place: Path, line: str) -> None:
    for long, short in SHORTER.items():
        line = re.sub(long, short, line)
    for info in available_backends():
        if re.search(rf"-b {info.name}( |$)", line) and (reason := info.missing()) is not None:
            pytest.skip(reason)
    if "--cluster" in line:
        pytest.importorskip("ray")
    done = stereosr(*line.split(), cwd=place, STEREOSR_HOME=str(place / "home"))
    if "timed out during startup" in done.stderr:
        pytest.skip("this machine is too busy for Ray to start")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [pytest.param(b, id=b.split("\n")[0]) for b in blocks("python")])
def test_the_python_runs(place: Path, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for file in place.glob("*_sr.png"):  # of the same snippet on another page
        file.unlink()
    exec(block, {})


def test_onnxruntime_alone_gives_what_we_give(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (block,) = (b for b in blocks("python") if "onnxruntime.InferenceSession" in b)
    exec(block, {})
    left, right = (read_picture(place / f"examples/{side}.png").pixels for side in ("left", "right"))
    with load_model("gcssr", scale=4) as model:
        ours = model.upscale(left, right)
    for name, view in zip(("left_sr", "right_sr"), ours, strict=True):
        assert np.abs(read_picture(place / f"{name}.png").pixels.astype(int) - view).max() <= 1


def test_the_messages_of_the_troubleshooting_page_are_messages_of_the_program() -> None:
    folders = ("engines", "export", "stereosr_cli")
    source = "\n".join(f.read_text(encoding="utf-8") for folder in folders for f in (ROOT / folder).rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message over several lines
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        for phrase in re.findall(r"`([^`]+)`", row):
            assert phrase in source, phrase


def test_the_readme_fits_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
