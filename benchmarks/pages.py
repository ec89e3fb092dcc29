"""The benchmark page and the scores in the model cards, made of the committed results: nothing is typed.

    python benchmarks/pages.py

rewrites what stands between the ``<!-- benchmark -->`` marks of each.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stereosr.evaluation.bench import Summary, read_log, summarise
from stereosr.evaluation.degrade import CLEAN
from stereosr.models.library import BUNDLED, bundled
from stereosr.models.spec import read_spec
from stereosr_cli.report.published import published
from stereosr_export.checkpoints import OWN_WEIGHTS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
CARD = BUNDLED / "README.md"
BASELINES_CARD = OWN_WEIGHTS / "README.md"
MARKED = re.compile(r"(?<=<!-- benchmark -->\n).*?(?=<!-- /benchmark -->)", re.DOTALL)
SCALES = (4, 2)
PUBLISHED = ("VDSR", "PASSRnet", "iPASSR", "SSRDE-FNet", "NAFSSR-T", "NAFSSR-L")


def results(name: str, scale: int) -> tuple[dict[str, Any], list[Summary]] | None:
    """The last run of one set, and its rows on clean LR; None where none is committed."""
    path = HERE / "results" / f"{name}_x{scale}.jsonl"
    if not path.exists():
        return None
    records = read_log(path)
    run, summaries = [r for r in records if r["kind"] == "run"][-1], summarise(records, scale, recipes=[CLEAN])
    if any(summary.scenes != run["scenes"] for summary in summaries):
        raise SystemExit(f"{path.name} is not finished: run benchmarks/results.py with --go-on")
    return run, summaries


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score(found: Any, protocol: str) -> str:
    """PSNR and SSIM of a summary or a published row."""
    psnr, ssim = getattr(found, f"psnr_{protocol}", None), getattr(found, f"ssim_{protocol}", None)
    if psnr is None:
        return ""
    return f"{psnr:.2f}" + (f" / {ssim:.4f}".replace(" 0.", " .") if ssim is not None else "")


def title(summary: Summary) -> str:
    if not summary.row.parameters:
        return "bicubic"
    others = "" if (summary.row.backend, summary.row.precision) == ("ort-cpu", "fp32") else f", {summary.row.label}"
    return f"**stereosr, {summary.row.title}**{others}"


def quality(name: str) -> str:
    """PSNR and SSIM of one set at both scales, with the published rows if it is a published benchmark."""
    found = {scale: result for scale in SCALES if (result := results(name, scale))}
    columns = [(scale, protocol) for scale in found for protocol in ("avg", "left")]
    header = ["", *(f"x{scale} {protocol}" for scale, protocol in columns)]
    ours: dict[str, dict[int, Summary]] = {}
    theirs: dict[str, dict[int, Any]] = {method: {} for method in PUBLISHED}
    for scale, (run, summaries) in found.items():
        for summary in summaries:
            ours.setdefault(title(summary), {})[scale] = summary
        for row in published(run["benchmark"], scale):
            theirs.setdefault(row.method, {})[scale] = row
    rows = list(ours.items())
    rows += [(f"published: {method}", theirs[method]) for method in PUBLISHED if theirs[method]]
    return table(header, ([name, *(score(by.get(s), p) for s, p in columns)] for name, by in rows))


def depth(name: str) -> str:
    """How much of the depth is kept."""
    rows = []
    for scale in SCALES:
        for summary in (results(name, scale) or ({}, []))[1]:
            if summary.disparity is not None and summary.lost is not None and summary.warp is not None:
                numbers = (f"{summary.disparity:.2f}", f"{summary.lost:.1%}", f"{summary.warp:.2f}")
                rows.append([f"x{scale} {title(summary)}", *numbers])
    return table(["", "disparity error, px", "disparity lost", "warp error"], rows)


def speed(name: str) -> tuple[str, str] | None:
    """The table of latencies, and what they are of; None where none were measured."""
    rows, where = [], ""
    for scale in SCALES:
        for summary in (results(name, scale) or ({}, []))[1]:
            if summary.latency is None or summary.megapixels is None or summary.speed is None or summary.where is None:
                continue
            size, where = summary.where.split(", ", 1)
            rows.append(
                [
                    f"x{scale} {title(summary)}",
                    size,
                    f"{summary.latency:.2f} s",
                    f"{summary.p95:.2f} s",
                    f"{summary.megapixels:.2f}",
                    f"{1 / summary.speed:.0f}",
                    "" if summary.first is None else f"{summary.first:.1f} s",
                    "" if summary.memory is None else f"{summary.memory / 1e6:.0f} MB",
                ]
            )
    header = ["", "views", "median", "p95", "megapixels/s", "times bicubic", "first picture", "peak memory"]
    return (table(header, rows), where) if rows else None


def against_eager() -> list[str]:
    """What ``speed.py`` found; empty where it was not run."""
    path = HERE / "results" / "speed.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    machine = found["machine"]
    header = ["NAFSSR-T x4, a pair of", *(f"{size}" for size in found["sizes"])]
    names = list(next(iter(found["sizes"].values()))["rows"])
    rows = [
        [
            name,
            *(
                f"{s['rows'][name]['seconds']:.2f} s, {s['rows'][name]['times_faster']:.1f} x"
                for s in found["sizes"].values()
            ),
        ]
        for name in names
    ]
    small = next(iter(found["sizes"].values()))
    return [
        "Against the authors' form of the network, plain PyTorch, on the same weights, all in turn in one run "
        "(`python benchmarks/speed.py`):",
        table(header, rows),
        f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"onnxruntime {machine['versions']['onnxruntime']}; a process of `stereosr upscale` takes "
        f"{small['start_up_seconds']:.2f} s beside the network.",
    ]


def section() -> str:
    """The whole text between the marks."""
    result = results("kitti2015", 4)
    if result is None:
        raise SystemExit("no results: run benchmarks/results.py first")
    run, summaries = result
    own = summaries[0].hr_warp
    parts = [
        f"KITTI 2015, {run['about']}. It was not used for training, but one training "
        "choice (when\nto add rig-simulated patches) was made after seeing earlier scores on it (see the model card):",
        quality("kitti2015"),
        "PSNR in dB / SSIM of the pictures that `stereosr upscale` writes; `avg` is the mean of both whole views, "
        "`left` the left view\nwithout its first 64 columns. x4 from the published LR pictures, x2 from LR made by our "
        "own degradation.",
        "Is depth kept? The same images, judged by OpenCV's SGBM: the error of its disparity against the one it finds "
        "in HR, the share\nof it that is lost (unmatched, or off by more than a pixel), and the warp error: mean "
        "absolute difference (0-255) between the\n"
        f"left view and the right view warped to it (HR: {own:.2f}; blur lowers it):",
        depth("kitti2015"),
    ]
    times = speed("kitti2015")
    if times:
        parts += [f"Latency of a KITTI pair on {times[1]}, rows in turn:", times[0]]
    parts += against_eager()
    if results("middlebury4", 4):
        parts += [
            "Middlebury at half size, cloth2, motorcycle, piano and pipes: four of the published benchmark's five "
            "scenes, so not its row,\nand other scenes of that collection are in the training set:",
            quality("middlebury4"),
        ]
    devices = " ".join(summary.device for summary in summaries)
    used = {
        name: v for name, v in run["versions"].items() if name in ("numpy", "opencv-python-headless") or name in devices
    }
    versions = ", ".join(f"{name} {version}" for name, version in used.items())
    runs = {scale: found[0] for scale in SCALES if (found := results("kitti2015", scale))}
    measured = ", ".join(f"x{scale} {r['date'][:10]} at commit {r['commit']}" for scale, r in runs.items())
    parts.append(
        f"Measured {measured} on {run['cpu']}, {run['cores']} cores, "
        f"{run['memory'] / 2**30:.0f} GiB; Python {run['python']}, {versions}.\nThe records are in "
        "`benchmarks/results`; `python benchmarks/results.py DATA` makes them and this section."
    )
    return "\n" + "\n\n".join(parts) + "\n\n"


def card() -> str:
    """Scores and hashes of the bundled engines, as their model card shows them."""
    rows = []
    for name, label in (("kitti2015", "KITTI 2015"), ("middlebury4", "Middlebury, 4 scenes")):
        found = {scale: results(name, scale) for scale in SCALES}
        for protocol in ("avg", "left"):
            by_title: dict[str, dict[int, str]] = {}
            for scale in SCALES:
                for summary in (found[scale] or ({}, []))[1]:
                    by_title.setdefault(title(summary), {})[scale] = score(summary, protocol)
            rows += [
                [f"{label}, {protocol}: {engine}", *(scores.get(scale, "") for scale in SCALES)]
                for engine, scores in by_title.items()
            ]
    for name in sorted({read_spec(path).name for path in BUNDLED.glob("*.onnx")}):
        files = bundled(name)
        hashes = (hashlib.sha256(files[s].read_bytes()).hexdigest() if s in files else "" for s in SCALES)
        rows.append([f"sha256 of {name}", *(f"`{h}`" if h else "" for h in hashes)])
    return "\n" + table(["PSNR, dB / SSIM", *(f"x{scale}" for scale in SCALES)], rows) + "\n\n"


def baselines_card() -> str:
    """Scores at x4 of the baselines that were trained here, beside bicubic, and their hashes."""
    result = results("baselines", 4)
    if result is None:
        raise SystemExit("no results: run benchmarks/baselines.py first")
    rows = []
    for summary in result[1]:
        weights = OWN_WEIGHTS / f"{summary.row.title}_x4.safetensors"
        digest = f"`{hashlib.sha256(weights.read_bytes()).hexdigest()}`" if weights.exists() else ""
        scores = (score(summary, protocol) for protocol in ("avg", "left"))
        rows.append([title(summary), f"{summary.row.parameters:,}" if summary.row.parameters else "", *scores, digest])
    return "\n" + table(["x4", "parameters", "KITTI 2015 avg", "KITTI 2015 left", "sha256"], rows) + "\n\n"


def rewrite(path: Path, text: str) -> None:
    """Put the text between the marks of a file."""
    part = path.with_name(path.name + ".part")
    part.write_text(MARKED.sub(lambda _match: text, path.read_text(encoding="utf-8")), encoding="utf-8")
    part.replace(path)


def main() -> None:
    rewrite(PAGE, section())
    rewrite(CARD, card())
    rewrite(BASELINES_CARD, baselines_card())


if __name__ == "__main__":
    main()
