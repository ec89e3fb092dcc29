"""The engines in the wheel, on real pictures, by the field's protocol."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared_data import shared
from stereosr.backends.base import Backend
from stereosr.backends.registry import open_backend
from stereosr.evaluation.degrade import degrade, imresize, modcrop
from stereosr.evaluation.metrics import psnr
from stereosr.inference.ensemble import SelfEnsemble
from stereosr.inference.tiling import TilePlan, overlap_rows
from stereosr.inference.upscale import upscale
from stereosr.models.library import BUNDLED, find_model
from stereosr.types import StereoPair, quantise, to_float


def engine(scale: int) -> Backend:
    return open_backend(find_model("nafssr-t", scale), "ort-cpu")


def views(scene: Path, scale: int) -> list[np.ndarray]:
    return [modcrop(np.asarray(cv2.imread(str(scene / f"hr{v}.png")))[..., ::-1], scale) for v in (0, 1)]


def score(sr: StereoPair, hr: list[np.ndarray]) -> float:
    return float(np.mean([psnr(quantise(a, np.uint8), b) for a, b in zip((sr.left, sr.right), hr, strict=True)]))


@pytest.mark.parametrize(("scale", "step", "gain"), [(4, 2, 1.2), pytest.param(2, 7, 1.2, marks=pytest.mark.slow)])
def test_the_benchmark_gains_over_bicubic(scale, step, gain):
    """A part of KITTI 2015, never trained on; the whole of it is in the benchmark tables."""
    backend, gains = engine(scale), []
    for scene in sorted((shared("bench/KITTI2015") / "hr").iterdir())[::step]:
        hr = views(scene, scale)
        lr = [degrade(view, scale) for view in hr]
        bicubic = float(np.mean([psnr(imresize(a, scale), b) for a, b in zip(lr, hr, strict=True)]))
        gains.append(score(upscale(StereoPair(*map(to_float, lr)), backend), hr) - bicubic)
    assert np.mean(gains) > gain
    assert min(gains) > 0.3


@pytest.mark.slow
def test_the_second_view_helps():
    backend, gains = engine(4), []
    for scene in sorted((shared("bench/KITTI2015") / "hr").iterdir())[::5]:
        hr = views(scene, 4)
        left, right = (to_float(degrade(view, 4)) for view in hr)
        pair, twice = upscale(StereoPair(left, right), backend), upscale(StereoPair(left, left), backend)
        gains.append(psnr(quantise(pair.left, np.uint8), hr[0]) - psnr(quantise(twice.left, np.uint8), hr[0]))
    assert np.mean(gains) > 0.05


@pytest.mark.slow
def test_the_self_ensemble_helps():
    backend, gains = engine(4), []
    for scene in sorted((shared("bench/KITTI2015") / "hr").iterdir())[::10]:
        hr = views(scene, 4)
        pair = StereoPair(*(to_float(degrade(view, 4)) for view in hr))
        gains.append(score(upscale(pair, SelfEnsemble(backend)), hr) - score(upscale(pair, backend), hr))
    assert np.mean(gains) > 0.02


def test_bands_agree_with_the_whole_picture():
    """At least 60 dB after rounding, whatever the picture shows: no seam."""
    scene = shared("bench/Middlebury4") / "hr" / "piano"
    pair = StereoPair(*(to_float(view[:160, :320]) for view in views(scene, 1)))
    backend = engine(4)
    overlap = overlap_rows(backend.spec)
    whole = upscale(pair, backend)
    banded = upscale(pair, backend, TilePlan.of(pair.height, pair.width, (60, pair.width), (overlap, 0)))
    assert psnr(quantise(banded.left, np.uint8), quantise(whole.left, np.uint8)) > 60


def test_the_model_card_names_these_very_files():
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    for path in BUNDLED.glob("*.onnx"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
