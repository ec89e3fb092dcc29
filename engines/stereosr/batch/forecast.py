"""What a job will do, and about how long that takes; nothing is written."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stereosr.backends.base import Backend
from stereosr.batch.clip import look_at_clip
from stereosr.batch.item import Item, Settings
from stereosr.batch.job import explained, is_video
from stereosr.batch.pictures import plan_views, read_views
from stereosr.errors import StereosrError, UsageError
from stereosr.inference.auto import AutoEngine
from stereosr.inference.choice import VIDEO, Choice
from stereosr.inference.tiling import TilePlan, computed_pixels
from stereosr.inference.treated import count_passes
from stereosr.inference.upscale import upscale
from stereosr.types import StereoPair


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an item will take.

    Attributes:
        error: why it will fail, else None.
        size: LR rows and columns.
        output_size: rows and columns of one view of the result.
        tiles: of a video, in each frame.
        frames: of a video, 0 where the file does not say; None for pictures.
        seconds: about, that the model takes; 0 where that is not known.
    """

    item: Item
    error: StereosrError | None = None
    size: tuple[int, int] = (0, 0)
    output_size: tuple[int, int] = (0, 0)
    tiles: int = 0
    frames: int | None = None
    seconds: float = 0.0


def forecast(items: Iterable[Item], backend: Backend, settings: Settings) -> Iterator[Forecast]:
    """What each item will take, by one tile that every engine is tried on.

    Args:
        items, settings: as for ``run``; what an earlier job did counts, too.
        backend: as for ``run``.
    """
    speeds = _Speeds(backend)
    for item in items:
        try:
            yield _clip(item, speeds, settings) if is_video(item) else _pictures(item, speeds, settings)
        except Exception as error:
            yield Forecast(item, explained(item, error))


class _Speeds:
    """Of the engines of a backend, as the first tile of each tells."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._seconds_a_pixel: dict[str, float] = {}

    def take(self, choice: Choice | None) -> None:
        """Have the engine of this choice used."""
        if choice is not None and isinstance(self.backend, AutoEngine):
            self.backend.take(choice)

    def seconds(self, plan: TilePlan) -> float:
        """That the tiles of a plan will take."""
        spec = self.backend.spec
        if spec.title not in self._seconds_a_pixel:
            tile = StereoPair(*np.zeros((2, *plan.tile, 3), np.float32))
            started = time.perf_counter()
            upscale(tile, self.backend)
            one = TilePlan.of(*plan.tile, plan.tile, (0, 0))
            self._seconds_a_pixel[spec.title] = (time.perf_counter() - started) / computed_pixels(one, spec)
        return self._seconds_a_pixel[spec.title] * computed_pixels(plan, spec)


def _pictures(item: Item, speeds: _Speeds, settings: Settings) -> Forecast:
    if settings.preview is not None:
        raise UsageError(f"{item.name} is no video: ask for no preview", settings=("preview",))
    views = read_views(item, settings)
    speeds.take(views.choice)
    spec = speeds.backend.spec
    output_size = settings.size.of(*views.size, spec.scale)
    plan, passes = plan_views(views, spec, settings), count_passes(views.treatment, *views.size)
    return Forecast(
        item,
        size=views.size,
        output_size=output_size,
        tiles=passes * plan.count,
        seconds=passes * speeds.seconds(plan),
    )


def _clip(item: Item, speeds: _Speeds, settings: Settings) -> Forecast:
    speeds.take(VIDEO)
    clip, plan, frames = look_at_clip(item, speeds.backend, settings)
    passes = count_passes(clip.treatment, *clip.size)
    return Forecast(
        item,
        size=clip.size,
        output_size=clip.output_size,
        tiles=passes * plan.count,
        frames=frames,
        seconds=frames * passes * speeds.seconds(plan),
    )
