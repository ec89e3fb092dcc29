"""What a pair of views may be."""

import numpy as np
import pytest

from stereosr.errors import UsageError
from stereosr.types import StereoPair


@pytest.mark.parametrize(
    "view",
    [
        np.zeros((4, 6, 3), np.uint8),
        np.zeros((4, 6, 3), np.float64),
        np.zeros((4, 6), np.float32),
        np.zeros((3, 4, 6), np.float32),
        np.zeros((1, 4, 6, 3), np.float32),
    ],
)
def test_a_view_of_another_type_or_shape_is_refused_at_the_door(view):
    good = np.zeros((4, 6, 3), np.float32)
    with pytest.raises(UsageError, match=r"right is .* and a view is float32, H x W x 3"):
        StereoPair(good, view)
    with pytest.raises(UsageError, match="left is"):
        StereoPair(view, good)
