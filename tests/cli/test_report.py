"""What ``stereosr bench`` shows: tables, the plot, and the page in a real browser."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from command import failed, stereosr
from stereosr.evaluation.bench import Bicubic, Log, Row, Summary, describe, measure_quality, summarise
from stereosr.evaluation.datasets import PUBLISHED, Dataset, open_dataset
from stereosr.evaluation.degrade import degrade, imresize
from stereosr.models.library import BUNDLED
from stereosr_cli.report import page, plot, tables
from stereosr_cli.report.published import published

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--window-size=672,2000",  # the example's width and the margins: the picture has its own size
    "--virtual-time-budget=20000",
)
BICUBIC = Summary(
    row=Bicubic(4).row, device="numpy", scenes=1, psnr_avg=24.0, ssim_avg=0.7, psnr_left=23.0, ssim_left=0.6
)
MODEL = replace(
    BICUBIC,
    row=Row(model="net", backend="cpu", precision="fp32", ensemble=False, parameters=460_656, gmacs=98.97),
    psnr_avg=26.123,
    ssim_avg=0.81236,
    psnr_left=None,
    where="LR 310x94, a machine",
    latency=2.0,
    speed=0.05,
)


class Blur:
    """A method that is not bicubic."""

    row, device = replace(Bicubic(4).row, model="blur"), "numpy"

    def __call__(self, lr):
        left, right = (cv2.GaussianBlur(view, (5, 5), 0) for view in Bicubic(4)(lr))
        return left, right


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset(BUNDLED / "examples", 4)


@pytest.fixture(scope="module")
def report(tmp_path_factory, dataset) -> Path:
    """A page of three methods, made the way the command makes it."""
    folder = tmp_path_factory.mktemp("page")
    methods = [Bicubic(4), Blur()]
    log = Log(folder / "log.jsonl")
    describe(methods, log)
    assert list(measure_quality(methods, dataset, log)) == []
    path = folder / "page.html"
    about = ["a </script> in a name <b>"]
    page.write_page(path, "render x4", about, summarise(log.records, 4), methods, dataset.scenes)
    return path


def test_the_tables_say_what_was_measured():
    (quality, depth, speed) = tables.markdown([BICUBIC, MODEL]).split("\n\n")
    assert "| net | cpu fp32 | 0.46M | 99 | 26.12/.8124 | +2.12 | - | - |" in quality
    assert "| bicubic | numpy uint8 | - | - | 24.00/.7000 | - | 23.00/.6000 | - |" in quality
    assert depth.endswith("| net | cpu fp32 | - | - | - | - |")
    assert "| net | cpu fp32 | 2.000 | - | - | 20.0 | - | - |" in speed
    first, second = csv.DictReader(io.StringIO(tables.comma_separated([BICUBIC, MODEL])))
    assert (first["model"], first["ensemble"], first["latency"]) == ("bicubic", "False", "")
    assert (second["psnr_avg"], second["where"]) == ("26.123", "LR 310x94, a machine")


def test_recipes_have_a_column_each_and_gain_over_bicubic_of_their_own_lr():
    noisy = replace(BICUBIC, recipe="noise5", psnr_avg=20.0)
    lines = [BICUBIC, MODEL, noisy, replace(MODEL, recipe="noise5", psnr_avg=21.5)]
    recipes, quality, depth, speed = tables.markdown(lines).split("\n\n")
    assert recipes.splitlines() == [
        "| model | backend | clean | noise5 |",
        "| --- | --- | --: | --: |",
        "| bicubic | numpy uint8 | 24.00 dB | 20.00 dB |",
        "| net | cpu fp32 | +2.12 | +1.50 |",
    ]
    assert "| net | cpu fp32 | noise5 | 0.46M | 99 | 21.50/.8124 | +1.50 | - | - |" in quality
    assert "| net | cpu fp32 | clean | 0.46M | 99 | 26.12/.8124 | +2.12 | - | - |" in quality
    assert len(depth.splitlines()) == 2 + 4
    assert len(speed.splitlines()) == 2 + 2  # latency is not of a recipe
    assert [row["recipe"] for row in csv.DictReader(io.StringIO(tables.comma_separated(lines)))] == [
        "clean",
        "clean",
        "noise5",
        "noise5",
    ]


def test_a_row_of_unknown_parameters_is_not_taken_for_bicubic():
    single = replace(MODEL, row=replace(MODEL.row, model="one", parameters=None, gmacs=None))
    quality = tables.markdown([BICUBIC, single]).split("\n\n")[0]
    assert "| one | cpu fp32 | - | - | 26.12/.8124 | +2.12 | - | - |" in quality


def test_the_page_shows_a_scene_with_each_recipe(tmp_path, dataset):
    methods, recipes = [Bicubic(4)], ["clean", "noise5"]
    path = tmp_path / "page.html"
    page.write_page(path, "t", [], [BICUBIC, replace(BICUBIC, recipe="noise5")], methods, dataset.scenes, recipes)
    text = path.read_text(encoding="utf-8")
    data = json.loads(text.split('<script id="data" type="application/json">')[1].split("</script>")[0])
    clean, noisy = data["scenes"]
    assert (clean["name"], noisy["name"]) == ("render", "render · noise5")
    assert clean["pictures"][0] == noisy["pictures"][0]  # HR
    assert clean["pictures"][1] != noisy["pictures"][1]
    assert data["tables"][0]["columns"] == ["model", "backend", "clean", "noise5"]


def test_the_published_rows_are_those_of_the_papers():
    rows = {row.method: row for row in published("KITTI2015", 4)}
    assert (rows["bicubic"].psnr_avg, rows["bicubic"].psnr_left) == (24.38, 23.79)
    assert (rows["NAFSSR-T"].psnr_avg, rows["NAFSSR-T"].ssim_avg, rows["NAFSSR-T"].parameters) == (
        26.62,
        0.8159,
        460000,
    )
    assert rows["CVHSSR-T"].psnr_left is None
    assert published(None, 4) == []
    for benchmark in PUBLISHED:
        for scale in (2, 4):
            found = published(benchmark.name, scale)
            assert {"bicubic", "PASSRnet", "iPASSR", "NAFSSR-L"} <= {row.method for row in found}
            for row in found:  # bicubic is below all but StereoSR, whose degradation was another one
                bicubic = next(r for r in found if r.method == "bicubic")
                assert row.psnr_avg >= bicubic.psnr_avg or row.method == "StereoSR", row
                if row.psnr_left is not None:
                    assert -0.2 < row.psnr_avg - row.psnr_left < 1, row


def test_the_plot_shows_our_points_and_the_published_ones(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    plot.write_plot(path, [replace(BICUBIC, latency=0.1), MODEL], "title", "KITTI2015", 4)
    drawn = set(re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8")))
    assert {"net", "bicubic", "NAFSSR-T", "PASSRnet", "seconds a pair, LR 310x94, a machine", "PSNR avg, dB"} <= drawn
    plot.write_plot(tmp_path / "plot.png", [BICUBIC], "title", None, 4)  # nothing but a line
    assert cv2.imread(str(tmp_path / "plot.png")) is not None


def test_a_plot_needs_a_name_of_a_picture_and_nothing_is_overwritten(tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ("bench", "-n", "bicubic", "--only", "quality", "--plot")
    home = {"STEREOSR_HOME": str(tmp_path / "home")}
    failed(stereosr(*arguments, tmp_path / "plot.xyz", **home), 2, "use .png, .svg or .pdf")
    (tmp_path / "plot.png").write_text("mine")
    failed(stereosr(*arguments, tmp_path / "plot.png", **home), 2, "pass --overwrite")
    assert (tmp_path / "plot.png").read_text() == "mine"
    done = stereosr(*arguments, tmp_path / "plot.png", "--html", tmp_path / "page.html", "--overwrite", **home)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "plot.png")) is not None
    assert "bicubic" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(report):
    text = report.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?:(?!//www.w3.org/2000/svg)|<link|<img|@import|url\(", text)
    assert text.count("</script>") == 2  # names cannot break out of the data


def browse(report: Path, state: str, tmp_path: Path) -> tuple[str, np.ndarray]:
    """The page as the browser has it after its scripts ran, and a screenshot, RGB."""
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium (apt-get install chromium)")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    address = f"{report.as_uri()}#{state}"
    shot = tmp_path / "shot.png"
    for option in ("--dump-dom", f"--screenshot={shot}"):
        done = subprocess.run([*command, option, address], capture_output=True, text=True, timeout=120, check=True)
        if option == "--dump-dom":
            dom = done.stdout
    return dom, cv2.imread(str(shot))[..., ::-1]


def contains(picture: np.ndarray, part: np.ndarray) -> bool:
    """Is the part somewhere in the picture, but for rounding?"""
    difference = cv2.matchTemplate(np.ascontiguousarray(picture), np.ascontiguousarray(part), cv2.TM_SQDIFF)
    return float(difference.min()) / part.size < 2


def middle(view: np.ndarray) -> np.ndarray:
    top, left = (max(0, size - most) // 2 for size, most in zip(view.shape, page.SHOWN, strict=False))
    return view[top : top + page.SHOWN[0], left : left + page.SHOWN[1]]


def test_a_page_of_ones_own_results_shows_input_and_result(tmp_path):
    """At a zoom of two, the corner; both views in turn."""
    lr = tuple(np.random.default_rng(seed).integers(0, 256, (90, 160, 3), np.uint8) for seed in (0, 1))
    sr = tuple(np.random.default_rng(seed).integers(0, 256, (360, 640, 3), np.uint16) * 257 for seed in (2, 3))
    results = page.Results("net x4")
    for name in ("a", "b", "c", "d", "e"):
        results.add(name, lr, sr)
    results.write(tmp_path / "page.html")
    dom, shot = browse(tmp_path / "page.html", "zoom=2&split=25&view=left", tmp_path)
    assert [f">{name}</option>" in dom for name in "abcde"] == [True] * 3 + [False] * 2
    assert 'data-ready="0 0 1 left"' in dom
    corner = cv2.resize((sr[0] // 257).astype(np.uint8)[:180, :320], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    assert contains(shot, corner[:, 164:])
    bicubic = cv2.resize(lr[0], (640, 360), interpolation=cv2.INTER_CUBIC)[:180, :320]
    assert contains(shot, cv2.resize(bicubic, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)[:, :158])
    dom, _ = browse(tmp_path / "page.html", "view=wiggle", tmp_path)
    assert 'data-ready="0 0 1 wiggle"' in dom


@pytest.mark.parametrize("view", ["right", "anaglyph", "difference"])
def test_the_page_shows_in_a_browser_what_it_says(report, dataset, tmp_path, view):
    dom, shot = browse(report, f"a=1&b=2&view={view}&split=25", tmp_path)
    assert f'data-ready="0 1 2 {view}"' in dom
    assert "<h1>render x4</h1>" in dom
    assert "a &lt;/script&gt; in a name &lt;b&gt;" in dom
    assert all(f"<figcaption>{name}</figcaption>" in dom for name in ("HR", "bicubic", "blur"))
    hr, lr = dataset.scenes[0].views()
    shown = []
    for left, right in ([imresize(degrade(v, 4), 4) for v in hr], Blur()(lr)):
        if view == "right":
            shown.append(middle(right))
        elif view == "anaglyph":
            shown.append(middle(np.dstack([left[..., :1], right[..., 1:]])))
        else:
            shown.append(middle(np.minimum(255, 4 * cv2.absdiff(left, hr[0]).astype(int)).astype(np.uint8)))
    line = shown[0].shape[1] // 4
    for i, part in enumerate((slice(0, line - 1), slice(line + 1, None))):
        assert contains(shot, shown[i][:, part])
        assert not contains(shot, shown[1 - i][:, part])
