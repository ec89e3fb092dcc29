"""onnxruntime as we run it."""

import os
import subprocess
import sys
from pathlib import Path

from shared_data import ROOT


def test_onnxruntime_is_told_to_send_nothing_anywhere(tmp_path: Path) -> None:
    """Its telemetry starts with the import, and then keeps a state in the temporary folder."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path))
    command = [sys.executable, ROOT / "tests/workers/run_onnxruntime.py"]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []
