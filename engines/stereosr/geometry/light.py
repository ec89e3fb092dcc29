"""How bright the views of a pair are, and the right one made as bright as the left one for the network."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stereosr.geometry.matching import MIN_MATCHES, Matches
from stereosr.types import Image, Pixels

_DARKEST, _BRIGHTEST = 10, 245  # levels that can be compared
_SLOPE_SPREAD = 0.1  # how much a gamma usually differs from 1
_ROUNDS = 5
_NOISE = 0.02  # of a logarithm


@dataclass(frozen=True, slots=True)
class Light:
    """What makes the right view as bright as the left one: ``gain * value ** gamma``, values in [0, 1].

    Attributes:
        gain: of red, green and blue.
        gamma: likewise.
        ratio: how many times brighter red, green and blue are in the right view; medians.
    """

    gain: tuple[float, float, float]
    gamma: tuple[float, float, float]
    ratio: tuple[float, float, float]

    @property
    def exposure(self) -> float:
        """How much brighter the right view is, as a factor less 1."""
        return sum(self.ratio) / 3 - 1

    @property
    def colour(self) -> tuple[float, float, float]:
        """The same of red, green and blue beside the mean of the three."""
        red, green, blue = (part / (1 + self.exposure) - 1 for part in self.ratio)
        return red, green, blue

    def match(self, view: Image) -> Image:
        """The right view as bright as the left one; may exceed 1."""
        return np.asarray(np.array(self.gain, np.float32) * view ** np.array(self.gamma, np.float32))

    def restore(self, view: Image) -> Image:
        """Undo ``match``, also on a result that overshoots."""
        return np.asarray(
            (np.maximum(view, 0) / np.array(self.gain, np.float32)) ** (1 / np.array(self.gamma, np.float32))
        )


def measure_light(left: Pixels, right: Pixels, matches: Matches, factor: float) -> Light | None:
    """Compare the views around their matches.

    Args:
        left: H x W x 3, RGB, uint8.
        right: likewise.
        matches: of pictures that were shrunk to these.
        factor: by which they were.

    Returns:
        What differs; None in the dark, where there is no telling.
    """
    samples = []
    for view, points in ((left, matches.left), (right, matches.right)):
        at = ((points + 0.5) * factor - 0.5).round().astype(int)
        rows, columns = np.clip(at[:, 1], 0, view.shape[0] - 1), np.clip(at[:, 0], 0, view.shape[1] - 1)
        samples.append(np.asarray(cv2.blur(view, (9, 9)), np.float64)[rows, columns])
    a, b = samples
    usable = (np.minimum(a, b) > _DARKEST).all(1) & (np.maximum(a, b) < _BRIGHTEST).all(1)
    if usable.sum() < MIN_MATCHES:
        return None
    a, b = a[usable], b[usable]
    curves = [_curve(np.log(x / 255), np.log(y / 255)) for x, y in zip(a.T, b.T, strict=True)]
    (r, g, b_), (rg, gg, bg) = zip(*curves, strict=True)
    ratio = np.median(b / a, axis=0).tolist()
    return Light((r, g, b_), (rg, gg, bg), (ratio[0], ratio[1], ratio[2]))


def _curve(wanted: NDArray[np.float64], given: NDArray[np.float64]) -> tuple[float, float]:
    """Gain and gamma that make one channel as bright as the other, from logarithms, by Huber's robust regression."""
    terms = np.column_stack([np.ones(len(given)), given])
    prior, values = np.array([0.0, 1.0]), np.array([float(np.median(wanted - given)), 1.0])
    for _ in range(_ROUNDS):
        misses = np.abs(wanted - terms @ values)
        usual = max(1.5 * float(np.median(misses)), _NOISE)
        weights = 1 / np.maximum(misses / usual, 1)
        normal = (terms * weights[:, None]).T @ terms + np.diag([0, (usual / _SLOPE_SPREAD) ** 2])
        values = prior + np.linalg.solve(normal, terms.T @ (weights * (wanted - terms @ prior)))
    return float(np.exp(values[0])), float(values[1])
