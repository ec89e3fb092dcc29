"""What ``--dry-run`` prints; its numbers are tested with ``batch/forecast.py``."""

import pytest

from stereosr_cli.work.dry_run import about


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "about 0.0 s"),
        (9.6, "about 9.6 s"),
        (89.0, "about 89 s"),
        (90.0, "about 1.5 minutes"),
        (5300.0, "about 88 minutes"),
        (5400.0, "about 1.5 hours"),
        (1e6, "about 278 hours"),
    ],
)
def test_times_are_for_people(seconds: float, said: str) -> None:
    assert about(seconds) == said
