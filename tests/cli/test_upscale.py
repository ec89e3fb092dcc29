import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from command import failed, in_process, stereosr, wait_until
from shared_data import ROOT, shared
from stereosr.evaluation.degrade import imresize
from stereosr.evaluation.metrics import psnr
from stereosr.models.library import find_model

EXAMPLES = ROOT / "examples"
HR = ROOT / "engines/stereosr/models/bundled/examples/render"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """The middle of the example, the smallest size that the bundled models take as it is."""
    for name in ("left", "right"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), cv2.imread(str(EXAMPLES / f"{name}.png"))[30:75, 10:145])
    return tmp_path / "left.png", tmp_path / "right.png"


@pytest.fixture
def folder(tmp_path: Path, pair: tuple[Path, Path]) -> Path:
    """Three pairs in two places, and a picture without a partner."""
    root = tmp_path / "photos"
    for name in ("a", "b", "sub/c"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pair[0], root / f"{name}_L.png")
        shutil.copy(pair[1], root / f"{name}_R.png")
    shutil.copy(pair[0], root / "alone_L.png")
    return root


def size(path: Path) -> tuple[int, int]:
    height, width = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2]
    return width, height


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_the_example_beats_bicubic_in_both_views(tmp_path):
    done = stereosr("upscale", EXAMPLES / "left.png", EXAMPLES / "right.png", "-s", 4, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"gcssr x4 \(lossless, noise of 0\.\d of 255\) · onnxruntime CPUExecutionProvider · fp32 · 1 tile",
        done.stderr,
    )
    assert done.stdout == ""
    for name, truth in (("left", "hr0"), ("right", "hr1")):
        hr = cv2.imread(str(HR / f"{truth}.png"))
        bicubic = imresize(cv2.imread(str(EXAMPLES / f"{name}.png")), 4)
        assert psnr(cv2.imread(str(tmp_path / f"{name}_x4.png")), hr) > psnr(bicubic, hr) + 1


def test_each_pair_gets_the_engine_it_needs_and_says_which_and_why(pair, tmp_path):
    clean, photo = tmp_path / "clean", tmp_path / "photo"
    for folder in (clean, photo):
        folder.mkdir()
    for path in pair:
        shutil.copy(path, clean)
        cv2.imwrite(str(photo / f"{path.stem}.jpg"), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 80])
    done = in_process("upscale", tmp_path, "-o", tmp_path / "out", "--json")
    rows = {Path(row["input"][0]).parent.name: row for row in map(json.loads, done.stdout.splitlines())}
    assert (rows["photo"]["model"], rows["photo"]["choice"]) == ("gcssr-photo", "JPEG of quality 80")
    assert rows["clean"]["model"] == "gcssr"
    assert rows["clean"]["choice"].startswith("lossless, noise of ")
    jpegs = photo / "left.jpg", photo / "right.jpg"
    forced = in_process("upscale", *jpegs, "-n", "nafssr-t", "-o", tmp_path / "forced", "--json")
    row = json.loads(forced.stdout)
    assert (row["model"], row["choice"]) == ("nafssr-t", None)
    chosen = in_process("upscale", *jpegs, "-o", tmp_path / "chosen")
    assert "gcssr-photo x4 (JPEG of quality 80) · " in chosen.stderr


def test_strength_goes_from_the_model_to_its_photo_engine(pair, tmp_path):
    def result(*arguments):
        out = tmp_path / "-".join(map(str, arguments))
        done = in_process("upscale", *pair, "-s", 2, "-o", out, "--json", *arguments)
        return json.loads(done.stdout)["model"], cv2.imread(str(out / "left_x2.png")).astype(float)

    (first, clean), (last, photo) = (result("-n", name) for name in ("nafssr-t", "nafssr-t-photo"))
    for strength, same, name in ((0, clean, first), (1, photo, last)):
        model, pixels = result("--strength", strength)
        assert model == name
        np.testing.assert_array_equal(pixels, same)
    model, between = result("--strength", 0.5)
    assert model == "nafssr-t-photo@0.5"
    assert 0 < np.abs(between - clean).mean() < np.abs(photo - clean).mean()


def test_contradictions_about_the_model_are_errors(pair):
    failed(in_process("upscale", *pair, "-n", "auto", "-n", "nafssr-t"), 2, "-n auto", "pass it alone")
    failed(in_process("upscale", *pair, "-n", "a", "-n", "b", "--strength", 0.5), 2, "--strength is of one model")
    failed(in_process("upscale", *pair, "-n", "a.onnx", "--strength", 0.5), 2, "pass the model's name")
    failed(in_process("upscale", *pair, "-n", "gcssr-photo", "--strength", 0.5), 2, "no gcssr-photo-photo x4")
    failed(in_process("upscale", *pair, "--strength", 1.5), 2, "0<=x<=1")


@pytest.mark.parametrize("scale", [2, 4])
def test_a_pair_is_written_beside_its_input(pair, scale):
    assert in_process("upscale", *pair, "-s", scale).returncode == 0
    assert files(pair[0].parent) == {"left.png", "right.png", f"left_x{scale}.png", f"right_x{scale}.png"}
    assert size(pair[0].parent / f"left_x{scale}.png") == (135 * scale, 45 * scale)


def test_nothing_is_overwritten_unasked(pair):
    target = pair[0].parent / "left_x4.png"
    target.write_text("mine")
    failed(in_process("upscale", *pair), 2, "left_x4.png exists", "--overwrite")
    assert target.read_text() == "mine"
    assert in_process("upscale", *pair, "--overwrite").returncode == 0
    assert size(target) == (540, 180)


def test_a_folder_keeps_its_structure_and_lists_what_has_no_partner(folder, tmp_path):
    out = tmp_path / "out"
    done = in_process("upscale", folder, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert "alone_L.png" in done.stderr
    names = {f"{n}_{side}_x4.png" for n in ("a", "b", "sub/c") for side in "LR"}
    assert files(out) == names | {"stereosr-manifest.jsonl"}
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["status"] for r in rows] == ["done"] * 3
    assert rows[0]["device"] == "onnxruntime CPUExecutionProvider"
    assert rows[0]["size"] == [45, 135]
    assert rows[0]["peak_memory"] > 10**7


def test_a_stopped_folder_goes_on_and_other_settings_do_not_pass_for_done(folder, tmp_path):
    out = tmp_path / "out"
    shutil.move(folder / "sub", tmp_path / "later")
    assert in_process("upscale", folder, "-o", out).returncode == 0
    before = (out / "a_L_x4.png").stat().st_mtime_ns
    shutil.move(tmp_path / "later", folder / "sub")
    rows = [json.loads(r) for r in in_process("upscale", folder, "-o", out, "--json").stdout.splitlines()]
    assert sorted(r["status"] for r in rows) == ["done", "skipped", "skipped"]
    assert (out / "a_L_x4.png").stat().st_mtime_ns == before
    done = in_process("upscale", folder, "-o", out, "--swap")
    failed(done, 3, "3 of 3 pairs failed")
    assert (out / "a_L_x4.png").stat().st_mtime_ns == before


def test_what_a_killed_run_left_half_done_is_done_again(folder, tmp_path):
    out = tmp_path / "out"
    assert in_process("upscale", folder, "-o", out).returncode == 0
    manifest = out / "stereosr-manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    started = [r for r in rows if r["state"] == "started" or r["name"] != "b"]
    manifest.write_text("".join(json.dumps(r) + "\n" for r in started) + '{"key": "cut sho')
    (out / "b_R_x4.png").unlink()
    rows = [json.loads(r) for r in in_process("upscale", folder, "-o", out, "--json").stdout.splitlines()]
    assert {r["name"]: r["status"] for r in rows} == {"a": "skipped", "b": "done", "sub/c": "skipped"}
    assert (out / "b_R_x4.png").exists()


def test_a_bad_pair_does_not_stop_the_others(folder, tmp_path):
    (folder / "b_R.png").write_bytes((folder / "b_R.png").read_bytes()[:2000])
    done = stereosr("upscale", folder, "-o", tmp_path / "out")
    failed(done, 3, "1 of 3 pairs failed: b")
    assert any("b_R.png" in line and line.startswith("failed") for line in done.stderr.splitlines())
    assert {"a_L_x4.png", "sub/c_R_x4.png"} <= files(tmp_path / "out")
    assert "b_L_x4.png" not in files(tmp_path / "out")


def test_fail_fast_stops_at_the_first(folder, tmp_path):
    (folder / "a_L.png").write_text("no picture")
    failed(in_process("upscale", folder, "-o", tmp_path / "out", "--fail-fast"), 3, "failed: a")
    assert not (tmp_path / "out" / "sub" / "c_L_x4.png").exists()


def test_two_folders_of_views(pair, tmp_path):
    for side, file in zip(("cam0", "cam1"), pair, strict=True):
        (tmp_path / side).mkdir()
        shutil.copy(file, tmp_path / side / "000.png")
    done = in_process("upscale", "-l", tmp_path / "cam0", "-r", tmp_path / "cam1", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path / "out")) == 3


def test_a_dry_run_writes_nothing(folder, tmp_path):
    """It tells sizes, tiles and a time."""
    command = ("upscale", folder, "-o", tmp_path / "out", "--dry-run")
    done = in_process(*command)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert re.search(r"a_R_x4\.png: 135x45 -> 540x180, 1 tile, about [\d.]+ s$", done.stdout, re.MULTILINE)
    assert re.search(r"^3 pairs, about [\d.]+ s$", done.stderr, re.MULTILINE)
    done = in_process(*command, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["output_size"] for line in lines] == [[180, 540]] * 3
    assert all(line["seconds"] > 0 and line["tiles"] == 1 and line["error"] is None for line in lines)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_ends_as_the_run_would_where_a_pair_cannot_be_done(folder, tmp_path):
    (folder / "b_R.png").write_bytes(b"no picture")
    done = in_process("upscale", folder, "-o", tmp_path / "out", "--dry-run")
    failed(done, 3, "1 of 3 pairs would fail")
    assert "failed: b" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_tiles_that_share_too_much_are_warned_of(pair):
    done = in_process("upscale", *pair, "-s", 2, "-t", "30x70")
    assert done.returncode == 0, done.stderr
    assert "tiles of 70x30 share so much that" in done.stderr


def test_sixteen_bits_alpha_and_grey_come_back_as_they_came(tmp_path, pair):
    for name, file in zip(("left", "right"), pair, strict=True):
        colour = cv2.imread(str(file)).astype(np.uint16) * 257
        alpha = np.full((*colour.shape[:2], 1), 65535, np.uint16)
        cv2.imwrite(str(tmp_path / f"rgba_{name}.png"), np.concatenate([colour, alpha], 2))
        cv2.imwrite(str(tmp_path / f"grey_{name}.png"), cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2GRAY))
    for kind, shape, dtype in (("rgba", (90, 270, 4), np.uint16), ("grey", (90, 270), np.uint8)):
        done = in_process("upscale", tmp_path / f"{kind}_left.png", tmp_path / f"{kind}_right.png", "-s", 2)
        assert done.returncode == 0, done.stderr
        result = cv2.imread(str(tmp_path / f"{kind}_right_x2.png"), cv2.IMREAD_UNCHANGED)
        assert result.shape == shape
        assert result.dtype == dtype


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (30, 200), (61, 40)])
def test_sizes_below_the_pooling_window_work(tmp_path, shape):
    for name in ("left", "right"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((*shape, 3), 90, np.uint8))
    done = in_process("upscale", tmp_path / "left.png", tmp_path / "right.png", "-s", 2)
    assert done.returncode == 0, done.stderr
    assert size(tmp_path / "left_x2.png") == (2 * shape[1], 2 * shape[0])


def test_one_file_twice_is_done_with_a_warning(pair):
    done = in_process("upscale", pair[0], pair[0].with_name("copy.png"))
    failed(done, 2, "copy.png does not exist")
    shutil.copy(pair[0], pair[0].with_name("copy.png"))
    done = in_process("upscale", pair[0], pair[0].with_name("copy.png"))
    assert done.returncode == 0
    assert "same picture" in done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"just text", "no picture"), (None, "truncated")],
    ids=["empty", "text", "truncated"],
)
def test_files_that_are_no_pictures_are_named(pair, content, reason):
    whole = pair[1].read_bytes()
    pair[1].write_bytes(whole[: len(whole) // 2] if content is None else content)
    failed(in_process("upscale", *pair), 1, "right.png", reason)
    assert files(pair[0].parent) == {"left.png", "right.png"}


def test_views_of_unequal_size_are_refused_with_both_sizes(pair):
    cv2.imwrite(str(pair[1]), cv2.imread(str(pair[1]))[:, :-5])
    failed(in_process("upscale", *pair), 2, "135x45", "130x45")


def test_an_output_that_cannot_be_written_is_an_error_without_leavings(pair, tmp_path):
    (tmp_path / "file").write_text("")
    failed(in_process("upscale", *pair, "-o", tmp_path / "file" / "out"), 2, f"{tmp_path / 'file'} is a file")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing to do"]),
        (["nowhere.png", "right.png"], ["nowhere.png does not exist"]),
        (["left.png"], ["left.png", "--layout"]),
        (["left.png", "right.png", "-s", "17"], ["1<x<=16"]),
        (["left.png", "right.png", "-s", "2", "--max-size", "20"], ["is as large as what is asked for already"]),
        (["left.png", "right.png", "-n", "nafssr-xxl"], ["nafssr-xxl", "nafssr-t x4"]),
        (["left.png", "right.png", "-n", "left.png.onnx"], ["left.png.onnx does not exist"]),
        (["left.png", "right.png", "-n", "./right.png"], ["not an ONNX file of stereosr"]),
        (["left.png", "right.png", "-t", "0"], ["invalid tile"]),
        (["left.png", "right.png", "--max-memory", "lots"], ["invalid size"]),
        (["left.png", "right.png", "--max-memory", "0"], ["invalid size"]),
        (["left.png", "right.png", "-s", "0"], ["1<x<=16"]),
        (["."], ["to which folder", "(--out)"]),
        (["-l", "."], ["-l and -r go together"]),
        (["left.png", "right.png", "-b", "abacus"], ["no backend named 'abacus'"]),
        (["left.png", "right.png", "-g", "cpu", "-b", "ort-cuda"], ["ort-cuda needs a GPU", "leave one"]),
        (["left.png", "left.png"], ["left.png is given twice"]),
        (["left.png", "right.png", "left.png"], ["left.png", "LEFT RIGHT alone", "folder"]),
        (["left.png", "right.png", "-l", ".", "-r", "."], ["left.png and -l"]),
        (["left.png", "right.png", "--suffix", "/x"], ["invalid suffix '/x'"]),
        (["left.png", "right.png", "--out-layout", "mpo", "-f", "png"], ["JPEG inside", "the format png", "--format"]),
        (["left.png", "right.png", "-n", "right.png"], ["right.png is not an ONNX file", "stereosr export"]),
    ],
)
def test_wrong_usage_names_the_fix(pair, arguments, parts):
    failed(in_process("upscale", *arguments, cwd=pair[0].parent), 2, *parts)


def test_several_models_are_averaged(pair):
    """Of a model with itself that is the model."""
    for models in (["nafssr-t"], ["nafssr-t"] * 2):
        chosen = [part for name in models for part in ("-n", name)]
        done = in_process("upscale", *pair, "-s", 2, "-o", pair[0].parent / str(len(models)), *chosen)
        assert done.returncode == 0, done.stderr
        assert f"{' + '.join(models)} x2" in done.stderr
    one, two = (cv2.imread(str(pair[0].parent / f"{n}/left_x2.png")) for n in (1, 2))
    assert np.array_equal(one, two)
    engines = [find_model("nafssr-t", scale) for scale in (2, 4)]
    failed(in_process("upscale", *pair, "-n", engines[0], "-n", engines[1]), 2, "x2", "x4")


def test_what_the_system_refuses_is_one_line(pair):
    failed(in_process("upscale", "a" * 300, pair[1]), 1, "File name too long: aaa")


def test_closed_streams_do_not_matter(pair):
    command = [sys.executable, "-m", "stereosr_cli", "upscale", *map(str, pair)]
    done = subprocess.run(["/bin/sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], check=False, timeout=120)
    assert done.returncode == 0
    assert (pair[0].parent / "left_x4.png").exists()


def test_the_gpu_can_be_left_alone(pair):
    done = in_process("upscale", *pair, "-g", "cpu", "-s", 2)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "onnxruntime CPUExecutionProvider" in done.stderr


def test_a_tile_that_does_not_fit_says_what_it_needs(pair):
    failed(in_process("upscale", *pair, "--max-memory", "1K"), 5, "MiB", "1 KiB may be used", "--max-memory")


def test_an_interrupt_leaves_no_partial_file(folder, tmp_path):
    for n in range(30):
        for side in "LR":
            shutil.copy(folder / f"a_{side}.png", folder / f"more{n:02}_{side}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "stereosr_cli", "upscale", str(folder), "-o", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (out / "a_R_x4.png").exists() or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert all(name.endswith((".png", ".jsonl")) for name in files(out))
    assert all(cv2.imread(str(out / n)) is not None for n in files(out) if n.endswith(".png"))
    assert 0 < len(files(out)) < 60


def test_upscale_runs_where_torch_and_the_gpu_libraries_cannot_be_imported(pair):
    blocked = ("torch", "onnx", "tensorrt", "tensorrt_rtx", "pycuda", "stereosr_export", "matplotlib")
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nfrom stereosr_cli.main import main\nmain()"
    command = [sys.executable, "-c", code, "upscale", *map(str, pair)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["upscale", "--help"], ["export", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        f"import sys\nfrom stereosr_cli.main import cli\ncli({arguments}, standalone_mode=False)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'numpy', 'cv2', 'PIL', 'rich', 'onnxruntime', 'torch', 'psutil', 'onnx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("Usage: ")
    assert done.stdout.strip().endswith("[]")


def test_help_lists_the_commands():
    done = in_process("--help")
    assert re.findall(r"(?m)^  (\w+) ", done.stdout.split("Commands:")[1])[0] == "upscale"
    for name in ("export", "train", "models"):
        assert name in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to fill a small file system")
def test_a_full_disk_leaves_nothing(pair, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(small)]
    mounted = subprocess.run(command, check=False, capture_output=True, timeout=60)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        failed(in_process("upscale", *pair, "-o", small), 1, "No space left")
        assert files(small) == set()
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=60)


def test_the_second_view_helps(tmp_path):
    """On a real pair, the right view given truly must beat the left view given twice."""
    scene = shared("bench/KITTI2015") / "lr_x4" / "000002"
    hr = cv2.imread(str(shared("bench/KITTI2015") / "hr" / "000002" / "hr0.png"))
    scores = []
    for name, right in (("true", "lr1"), ("twice", "lr0")):
        (tmp_path / name).mkdir()
        shutil.copy(scene / "lr0.png", tmp_path / name / "left.png")
        shutil.copy(scene / f"{right}.png", tmp_path / name / "right.png")
        assert in_process("upscale", tmp_path / name / "left.png", tmp_path / name / "right.png").returncode == 0
        sr = cv2.imread(str(tmp_path / name / "left_x4.png"))
        scores.append(psnr(sr, hr[: sr.shape[0], : sr.shape[1]]))
    assert scores[0] > scores[1] + 0.02


def test_quiet_says_nothing_not_even_a_warning(pair, folder, tmp_path):
    loud = in_process("upscale", pair[0], shutil.copy(pair[0], tmp_path / "same.png"), "-o", tmp_path / "loud")
    assert "warning: " in loud.stderr
    quiet = in_process("upscale", pair[0], tmp_path / "same.png", "-o", tmp_path / "quiet", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert "alone_L.png" not in in_process("upscale", folder, "-o", tmp_path / "out", "-s", 2, "--quiet").stderr


@pytest.mark.parametrize("both", [False, True], ids=["of --json", "of both streams"])
def test_the_work_goes_on_if_the_reader_goes_away(folder, tmp_path, both):
    """As with ``--json | head -1``, and ``2>&1 | head -1``."""
    command = [sys.executable, "-m", "stereosr_cli", "upscale", folder, "-o", tmp_path / "out", "-s", "2"]
    errors = subprocess.STDOUT if both else subprocess.PIPE
    with subprocess.Popen([*command, *([] if both else ["--json"])], stdout=subprocess.PIPE, stderr=errors) as job:
        assert job.stdout is not None
        assert job.stdout.readline()
        job.stdout.close()
        said = job.stderr.read() if job.stderr else b""
    assert job.returncode == 0, said
    assert b"Traceback" not in said
    assert b"ignored" not in said
    assert len(list((tmp_path / "out").rglob("*_x2.png"))) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_does_not_fit_on_the_disk_is_an_error():
    command = [sys.executable, "-m", "stereosr_cli", "models", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


@pytest.mark.parametrize("verbose", [["-v", "upscale"], ["upscale", "-v"]])
def test_an_internal_error_is_one_line_and_a_traceback_where_it_is_asked_for(pair, monkeypatch, verbose):
    monkeypatch.setattr("stereosr_cli.work.upscale.collect", lambda *_: 1 / 0)
    failed(in_process("upscale", *pair), 1, "internal error: ZeroDivisionError", "stereosr -v")
    assert "Traceback" in in_process(*verbose, *pair).stderr


def test_an_internal_error_in_one_pair_shows_its_traceback_where_it_is_asked_for(pair, monkeypatch):
    monkeypatch.setattr("stereosr.batch.job.read_views", lambda *_: 1 / 0)
    failed(in_process("upscale", *pair), 1, "ZeroDivisionError", "--verbose")
    assert "in prepare" in in_process("upscale", "-v", *pair).stderr


def test_a_page_shows_the_result_and_is_refused_before_the_work(tmp_path, pair):
    page, out = tmp_path / "page.html", tmp_path / "out"
    options = ("upscale", *pair, "-s", 2, "-o", out, "--html", page)
    done = in_process(*options)
    assert done.returncode == 0, done.stderr
    assert '"methods": ["bicubic", "auto x2"]' in page.read_text(encoding="utf-8")
    shutil.rmtree(out)
    failed(in_process(*options), 2, "page.html exists: pass --overwrite")
    for layout, kind in (("anaglyph", "red-cyan"), ("wiggle", "animated")):
        done = in_process(*options[:-1], tmp_path / "b.html", "--out-layout", layout)
        failed(done, 2, f"{kind} files no longer hold")
    assert not out.exists()


def test_a_dry_run_without_a_pair_ends_as_the_run_would(tmp_path):
    (tmp_path / "in").mkdir()
    for extra in ([], ["--dry-run"]):
        failed(in_process("upscale", tmp_path / "in", "-o", tmp_path / "out", *extra), 2, "no stereo pair found")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_name_is_printed_whatever_the_console_can_show(pair, encoding):
    """Also one that is no text at all."""
    for side, file in zip("LR", pair, strict=True):
        file.rename(file.with_name(os.fsdecode(b"\xc3\xa9\xe6\x97\xa5\xa5\xff_") + f"{side}.png"))
    for extra in (["--dry-run"], ["--dry-run", "--json"]):
        done = stereosr("upscale", pair[0].parent, "-o", pair[0].parent / "out", *extra, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert "_L_x4.png" in done.stdout


def test_one_pair_into_files_by_name(pair):
    done = in_process("upscale", *pair, "-s", 2, "-o", "up.png", "--out-layout", "sbs", cwd=pair[0].parent)
    assert done.returncode == 0, done.stderr
    assert size(pair[0].parent / "up.png") == (540, 90)
    done = in_process("upscale", *pair, "-s", 2, "-o", "l.png", "-o", "r.webp", cwd=pair[0].parent)
    assert done.returncode == 0, done.stderr
    assert files(pair[0].parent) == {"left.png", "right.png", "up.png", "l.png", "r.webp"}
    failed(in_process("upscale", *pair, "-o", pair[0].parent / "new.png"), 2, "two views do not go into", "--out")
    failed(in_process("upscale", *pair, "-o", "a", "-o", "b", cwd=pair[0].parent), 2, "give -o once for a folder")


def test_an_option_may_come_from_the_environment(pair):
    done = in_process("upscale", *pair, "--quiet", STEREOSR_UPSCALE_SCALE="2")
    assert done.returncode == 0, done.stderr
    assert size(pair[0].parent / "left_x2.png") == (270, 90)
    assert in_process("upscale", *pair, STEREOSR_UPSCALE_SCALE="none").returncode == 2


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("upscale -n ", "nafssr-t"),
        ("upscale -s ", "4"),
        ("upscale -b ort-", "ort-cpu"),
        ("train nafssr-t-p", "nafssr-t-photo-x4"),
        ("upscale --out-l", "--out-layout"),
    ],
)
def test_a_shell_completes(words, offered):
    done = stereosr(
        _STEREOSR_COMPLETE="bash_complete", COMP_WORDS=f"stereosr {words}", COMP_CWORD=str(len(words.split(" ")))
    )
    assert f"plain,{offered}" in done.stdout.splitlines()


def test_shards_do_a_folder_together_and_a_run_without_finds_all_done(tmp_path, pair):
    """Each pair is of one shard, whatever else the folder holds; each shard has its manifest, which all others read."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in "abcdef":
        for file, side in zip(pair, "LR", strict=True):
            shutil.copy(file, photos / f"{name}_{side}.png")
    command = ("upscale", photos, "-o", out, "-s", 2)

    def listed(*more):
        lines = in_process(*command, "--dry-run", "--json", *more).stdout.splitlines()
        return [json.loads(line)["name"] for line in lines]

    parts = [listed("--shard", f"{i}/3") for i in (1, 2, 3)]
    assert sorted(name for names in parts for name in names) == sorted(listed())
    assert all(parts)
    for side in "LR":
        shutil.copy(photos / f"a_{side}.png", photos / f"g_{side}.png")
    assert [name for name in listed("--shard", "1/3") if name != "g"] == parts[0]
    for shard in ("1/3", "2/3", "3/3"):
        assert in_process(*command, "--shard", shard).returncode == 0
    whole = in_process(*command)
    assert (whole.returncode, whole.stderr.count("done before")) == (0, 7)
    assert {p.name for p in out.glob("*.jsonl")} == {f"stereosr-manifest-{i}-of-3.jsonl" for i in (1, 2, 3)}
    failed(in_process(*command, "--shard", "4/3"), 2, "invalid shard '4/3': write 1/8 to 8/8")


@pytest.mark.parametrize(
    ("asked", "name", "factor"),
    [
        (["-s", "1.6"], "left_x1.6.png", 1.6),
        (["--width", "200"], "left_w200.png", 200 / 135),
        (["-s", "2", "--max-size", "180"], "left_x2.png", 180 / 135),
    ],
)
def test_results_of_any_size_are_reduced_from_the_next_larger_engine(pair, asked, name, factor):
    done = in_process("upscale", *pair, *asked, "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["scale"] == 2
    assert row["output_size"] == [round(side * factor) for side in (45, 135)]
    assert row["output"][0].endswith(name)
    assert [list(size(Path(path)))[::-1] for path in row["output"]] == [row["output_size"]] * 2


@pytest.mark.slow
def test_beyond_the_largest_engine_two_run_in_a_row(pair):
    done = in_process("upscale", *pair, "-s", "5", "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["scale"], row["model"]) == (8, "gcssr + nafssr-t")
    assert row["output_size"] == [5 * side for side in (45, 135)]


def test_what_cannot_be_shown_on_the_page_ends_no_job(tmp_path, pair, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "ab":
        for file, side in zip(pair, "LR", strict=True):
            shutil.copy(file, photos / f"{name}_{side}.png")

    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("stereosr_cli.work.upscale._show", broken)
    done = in_process("upscale", photos, "-o", tmp_path / "out", "-s", 2, "--html", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "warning: b is not on the page: no room" in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
