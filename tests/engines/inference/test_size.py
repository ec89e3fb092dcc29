import pytest

from stereosr.errors import UsageError
from stereosr.inference.size import OutputSize


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        (OutputSize(), (400, 800)),
        (OutputSize(scale=1.5), (150, 300)),
        (OutputSize(scale=3), (300, 600)),
        (OutputSize(width=500), (250, 500)),
        (OutputSize(height=333), (333, 666)),
        (OutputSize(width=500, height=200), (200, 400)),
        (OutputSize(largest=700), (350, 700)),
        (OutputSize(scale=2, largest=700), (200, 400)),
        (OutputSize(scale=4, width=300), (150, 300)),
        (OutputSize(largest=9999), (400, 800)),
    ],
)
def test_what_was_asked_for(asked: OutputSize, size: tuple[int, int]) -> None:
    assert asked.of(100, 200, 4) == size


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(UsageError, match="5 times as large, and x4"):
        OutputSize(width=1000).of(100, 200, 4)
    for asked in (OutputSize(width=200), OutputSize(largest=100)):
        with pytest.raises(UsageError, match="200x100 is as large"):
            asked.of(100, 200, 4)


def test_any_wish_makes_it_given() -> None:
    assert not OutputSize().is_given
    assert OutputSize(largest=100).is_given
