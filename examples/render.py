"""Render the example pair: a textured scene of known geometry seen by two ideal, rectified cameras.

    python examples/render.py

writes left.png and right.png here (160 x 120, made from the HR views by the field's degradation) and the HR views
(640 x 480) where ``stereosr bench`` finds them. Every surface is a function of its own coordinates, sampled on rays of
both cameras four times a pixel and axis; a pixel of depth z has the disparity FOCAL * BASELINE / z in HR pixels.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.evaluation.degrade import degrade

Array = NDArray[np.float64]

HEIGHT, WIDTH, SAMPLES = 480, 640, 4
FOCAL, BASELINE = 600.0, 0.12
HERE = Path(__file__).parent
BUNDLED = HERE.parent / "engines/stereosr/models/bundled/examples/render"


def noise(u: Array, v: Array, seed: int) -> Array:
    """Smooth value noise in [0, 1], one lattice cell a unit."""
    table = np.random.default_rng(seed).random((64, 64))
    x, y = np.floor(u).astype(int), np.floor(v).astype(int)
    a, b = u - x, v - y
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    low = table[y % 64, x % 64] * (1 - a) + table[y % 64, (x + 1) % 64] * a
    high = table[(y + 1) % 64, x % 64] * (1 - a) + table[(y + 1) % 64, (x + 1) % 64] * a
    return np.asarray(low * (1 - b) + high * b)


def grain(u: Array, v: Array, seed: int) -> Array:
    return sum(noise(u * 2**k, v * 2**k, seed + k) * 0.5**k for k in range(4)) / 1.875


def bricks(u: Array, v: Array) -> Array:
    row = np.floor(v / 0.14)
    x, y = np.mod(u + 0.5 * 0.36 * np.mod(row, 2), 0.36), np.mod(v, 0.14)
    mortar = (x < 0.018) | (y < 0.018)
    shade = 0.55 + 0.5 * noise(np.floor((u + 0.18 * np.mod(row, 2)) / 0.36) * 7.3, row * 3.1, 3)
    rough = 0.75 + 0.5 * grain(u * 14, v * 14, 11)
    brick = np.stack([0.62 * shade, 0.30 * shade, 0.22 * shade], -1) * rough[..., None]
    return np.where(mortar[..., None], np.array([0.70, 0.68, 0.63]) * rough[..., None], brick)


def planks(u: Array, v: Array) -> Array:
    board = np.floor(u / 0.22)
    fibre = grain(u * 30 + 9 * board, v * 2.5 + 5 * board, 23)
    gap = np.mod(u, 0.22) < 0.008
    tone = (0.5 + 0.35 * noise(board * 3.7, board * 0, 5)) * (0.6 + 0.8 * fibre)
    return np.where(gap[..., None], 0.06, np.stack([tone, 0.72 * tone, 0.46 * tone], -1))


def ball(longitude: Array, latitude: Array) -> Array:
    stripe = np.mod(np.floor(longitude / 0.26) + np.floor(latitude / 0.26), 2) == 0
    tint = np.where(stripe[..., None], np.array([0.93, 0.91, 0.86]), np.array([0.10, 0.32, 0.62]))
    return tint * (0.8 + 0.4 * grain(longitude * 9, latitude * 9, 41))[..., None]


def poster() -> Array:
    """The picture on the wall, as an image: fine lettering and a Siemens star."""
    page = np.full((400, 560, 3), 235, np.uint8)
    cv2.rectangle(page, (8, 8), (551, 391), (40, 40, 40), 4)
    for i in range(0, 36, 2):
        a, b = (2 * np.pi * k / 36 for k in (i, i + 1))
        tips = [[150 + 120 * np.cos(t), 210 + 120 * np.sin(t)] for t in (a, b)]
        cv2.fillPoly(page, [np.array([[150, 210], *tips], np.int32)], (20, 20, 20), cv2.LINE_AA)
    for i, word in enumerate(("STEREO", "parallax", "epipolar", "disparity")):
        place = (290, 130 + 66 * i)
        cv2.putText(
            page,
            word,
            place,
            cv2.FONT_HERSHEY_DUPLEX,
            1.45 - 0.15 * (i > 0),
            (150 - 40 * i, 30, 40 * i),
            3,
            cv2.LINE_AA,
        )
    return page.astype(np.float64) / 255


PAGE = poster()


def view(camera: float) -> Array:
    """The picture, H x W x 3 in [0, 1], of a camera at x = ``camera`` metres."""
    offsets = (np.arange(SAMPLES) + 0.5) / SAMPLES
    y, x = (np.arange(n)[:, None] + offsets for n in (HEIGHT, WIDTH))
    dx = ((x.ravel() - WIDTH / 2) / FOCAL)[None, :] + np.zeros((y.size, 1))
    dy = ((y.ravel() - HEIGHT / 2) / FOCAL)[:, None] + np.zeros((1, x.size))
    colour = np.zeros((*dx.shape, 3))
    depth = np.full(dx.shape, np.inf)

    def paint(z: Array, inside: Array, texture: Array) -> None:
        nearer = inside & (z > 0.2) & (z < depth)
        colour[nearer], depth[nearer] = texture[nearer], z[nearer]

    wall = 4.0 / (1 - 0.35 * dx) + 0.35 * camera / (1 - 0.35 * dx)  # a wall that recedes to the right: z = 4 + 0.35 x
    u, v = camera + dx * wall, dy * wall
    paint(wall, np.ones_like(dx, bool), bricks(u, v))
    row = np.clip(((v + 1.05) / 1.0 * 400).astype(int), 0, 399)
    column = np.clip(((u + 1.35) / 1.4 * 560).astype(int), 0, 559)
    paint(wall - 0.01, (v > -1.05) & (v < -0.05) & (u > -1.35) & (u < 0.05), PAGE[row, column])
    floor = 0.75 / np.maximum(dy, 0.06)
    paint(floor, dy > 0.06, planks(camera + dx * floor, floor))
    for cx, cy, cz, radius in ((0.48, 0.33, 2.3, 0.42), (-0.62, 0.5, 1.9, 0.25)):
        ox = camera - cx
        a, b = dx**2 + dy**2 + 1, dx * ox - dy * cy - cz
        inside = b**2 - a * (ox**2 + cy**2 + cz**2 - radius**2)
        z = (-b - np.sqrt(np.maximum(inside, 0))) / a
        nx, ny, nz = (ox + dx * z) / radius, (dy * z - cy) / radius, (z - cz) / radius
        light = np.clip(-0.4 * nx - 0.6 * ny - 0.7 * nz, 0.15, 1)
        paint(z, inside > 0, ball(np.arctan2(nx, -nz) + 1.3 * cx, np.arcsin(np.clip(ny, -1, 1))) * light[..., None])
    shape = (HEIGHT, SAMPLES, WIDTH, SAMPLES, 3)
    return np.asarray(np.clip(colour, 0, 1).reshape(shape).mean((1, 3)))


def main() -> None:
    BUNDLED.mkdir(parents=True, exist_ok=True)
    for name, hr_name, camera in (("left", "hr0", -BASELINE / 2), ("right", "hr1", BASELINE / 2)):
        hr = np.round(view(camera) ** (1 / 1.2) * 255).astype(np.uint8)
        cv2.imwrite(str(BUNDLED / f"{hr_name}.png"), hr[..., ::-1])
        cv2.imwrite(str(HERE / f"{name}.png"), degrade(hr, 4)[..., ::-1])


if __name__ == "__main__":
    main()
