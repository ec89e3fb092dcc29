"""MATLAB's imresize: the published LR pictures bit for bit, a golden of the referee, the formula; noise and JPEG."""

import hashlib
import io
import math
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared_data import shared
from stereosr.errors import UsageError
from stereosr.evaluation.degrade import corrupt, corrupt_pair, degrade, imresize, modcrop, recipe_steps, through_jpeg


def pattern() -> np.ndarray:
    """12 x 16 x 3 with ramps, wrap-arounds and a checkerboard of 0 and 255, which overshoots between the passes."""
    y, x = np.mgrid[:12, :16]
    channels = [(x * x * 7 + y * 31) % 256, (x * y * 13 + 5) % 256, 255 * ((x // 4 + y // 3) % 2)]
    return np.stack(channels, -1).astype(np.uint8)


LR = [
    [[72, 32, 78], [144, 89, 166], [142, 91, 89], [130, 91, 177]],
    [[170, 90, 128], [124, 129, 128], [128, 122, 128], [129, 138, 128]],
    [[103, 88, 177], [127, 124, 89], [127, 103, 166], [121, 135, 78]],
]
"""``pattern()`` shrunk by 4, as the referee of the published pictures computes it, which shares no code with ours."""
ENLARGED = [
    [[51, 18, 61], [139, 79, 166], [143, 87, 88], [128, 85, 195]],
    [[170, 80, 120], [129, 123, 132], [129, 121, 124], [129, 136, 136]],
    [[96, 84, 191], [125, 122, 91], [126, 104, 164], [120, 139, 64]],
]
"""Every fifth pixel of ``LR`` enlarged by 4, by the same."""


def test_the_published_lr_pictures_bit_for_bit():
    bench = shared("bench/KITTI2015")
    for path in sorted((bench / "lr_x4").glob("*/*.png"))[::5]:
        hr = cv2.imread(str(bench / "hr" / path.parent.name / path.name.replace("lr", "hr")))
        np.testing.assert_array_equal(degrade(hr, 4), cv2.imread(str(path)), str(path))


def test_the_golden():
    np.testing.assert_array_equal(imresize(pattern(), 1 / 4), LR)
    np.testing.assert_array_equal(imresize(np.array(LR, np.uint8), 4)[::5, ::5], ENLARGED)


@given(st.integers(1, 13), st.integers(1, 13), st.sampled_from([1 / 4, 1 / 3, 1 / 2, 2, 3, 4]), st.integers(0, 9))
def test_the_formula_pixel_by_pixel(height, width, scale, seed):
    """Each pass as the sum over every source pixel that mirroring puts under the kernel, in plain Python."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    rows = np.array([plain_resize(column, scale) for column in image.T.tolist()]).T
    both = np.array([plain_resize(row, scale) for row in rows.tolist()])
    np.testing.assert_array_equal(imresize(image, scale), both)


def plain_resize(line: list[int], scale: float) -> list[int]:
    f = min(scale, 1)
    out = []
    for i in range(math.ceil(len(line) * scale)):
        centre = (i + 0.5) / scale - 0.5
        total = weights = 0.0
        for k in range(math.floor(centre - 2 / f), math.ceil(centre + 2 / f) + 1):
            x = abs(f * (centre - k))
            near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            weight = near if x <= 1 else far if x < 2 else 0.0
            at = k % (2 * len(line))
            total += weight * line[min(at, 2 * len(line) - 1 - at)]
            weights += weight
        out.append(min(max(math.floor(round(total / weights, 9) + 0.5), 0), 255))
    return out


def test_the_crop_is_at_the_bottom_and_the_right():
    image = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9)
    np.testing.assert_array_equal(modcrop(image, 4), image[:4, :8])
    assert degrade(image, 4).shape == (1, 2)


def test_only_uint8_is_rounded_as_matlab_rounds():
    with pytest.raises(TypeError, match="float64"):
        imresize(np.zeros((4, 4)), 2)


def test_noise_is_the_same_bits_everywhere():
    """These bits are documented: scores of noisy LR compare only if they stay."""
    noisy = corrupt(pattern(), "noise5", "scene/0")
    assert (
        hashlib.sha256(noisy.tobytes()).hexdigest()
        == "410f45a82dc2f8978493f3351b8bd98b82edea8f5c55271d48bf37cfc0708290"
    )


def test_noise_is_numpys_by_the_names_crc_rounded_half_up_and_clamped():
    image = pattern()
    noise = np.random.default_rng(zlib.crc32("a/\u00e9".encode())).standard_normal(image.shape)
    wanted = np.clip(np.floor(image.astype(float) + 30 * noise + 0.5), 0, 255)
    found = corrupt(image, "noise30", "a/\u00e9")
    np.testing.assert_array_equal(found, wanted)
    assert {0, 255} <= set(found.flat)


def test_jpeg_is_pillows_by_quality_at_420():
    image = np.repeat(np.repeat(pattern(), 3, 0), 3, 1)
    files = []
    for subsampling in (2, 0):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=85, subsampling=subsampling)
        files.append(np.asarray(Image.open(file)))
    np.testing.assert_array_equal(corrupt(image, "jpeg85", "any"), files[0])
    np.testing.assert_array_equal(through_jpeg(image, 85, 0), files[1])
    assert (files[0] != files[1]).any()


def test_steps_are_done_in_their_order_and_clean_is_nothing():
    image = pattern()
    noisy = corrupt(image, "noise5", "x")
    np.testing.assert_array_equal(corrupt(image, "noise5+jpeg85", "x"), corrupt(noisy, "jpeg85", "x"))
    assert (corrupt(image, "noise5+jpeg85", "x") != corrupt(image, "jpeg85+noise5", "x")).any()
    np.testing.assert_array_equal(corrupt(image, "clean", "x"), image)
    assert recipe_steps("noise5+jpeg85") == [("noise", 5), ("jpeg", 85)]


def test_views_are_named_by_scene_and_side():
    left, right = corrupt_pair((pattern(), pattern()), "noise5", "sub/scene")
    np.testing.assert_array_equal(left, corrupt(pattern(), "noise5", "sub/scene/0"))
    np.testing.assert_array_equal(right, corrupt(pattern(), "noise5", "sub/scene/1"))
    assert (left != right).any()


@pytest.mark.parametrize(
    "recipe",
    [
        "",
        "blur2",
        "jpeg",
        "jpeg0",
        "jpeg101",
        "jpeg085",
        "noise256",
        "noise-5",
        "noise5+",
        "clean+jpeg85",
        "noise\u0665",
    ],
)
def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(recipe):
    with pytest.raises(UsageError, match="pass clean, noise5"):
        corrupt(pattern(), recipe, "x")
