"""Write a file many times: TARGET LETTER."""

import sys
from pathlib import Path

from stereosr.atomic import write_bytes

for size in range(1, 400):
    write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * size)
