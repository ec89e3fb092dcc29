"""How large results are: any size, where engines have a few scales."""

from dataclasses import dataclass

from stereosr.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSize:
    """The size of one view of a result; what an engine gives is reduced to it, and both views alike.

    Attributes:
        scale: how many times larger; None for the engine's, unless a width or a height is given.
        width: of one view at most, in pixels; its shape is kept.
        height: likewise.
        largest: of the longer side at most, whatever else is asked for.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    largest: int | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything was asked for."""
        return self != OutputSize()

    def factor(self, height: int, width: int, default: float) -> float:
        """How many times larger a view of this size becomes; ``default`` where nothing was asked for."""
        asked = [wanted / side for wanted, side in ((self.width, width), (self.height, height)) if wanted]
        factors = [self.scale, *asked] if self.scale else asked or [default]
        return min([*factors, *([self.largest / max(height, width)] if self.largest else [])])

    def of(self, height: int, width: int, scale: int) -> tuple[int, int]:
        """Rows and columns of the result of a view of this size, by an engine of this scale.

        Raises:
            UsageError: if that is not larger than the view, or the engine does not reach it.
        """
        factor = self.factor(height, width, scale)
        if factor > scale:
            raise UsageError(
                f"{width}x{height} is to become {factor:.3g} times as large, and x{scale} is the model's scale: "
                "do it in a run of its own, or ask for less"
            )
        if factor <= 1:
            raise UsageError(
                f"{width}x{height} is as large as what is asked for already: ask for more, or leave it out"
            )
        return max(1, round(height * factor)), max(1, round(width * factor))
