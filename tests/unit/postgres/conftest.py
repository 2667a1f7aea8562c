"""The programs of the images are importable, as they are inside them."""

from __future__ import annotations

import sys
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[3] / "images"
sys.path[:0] = [str(IMAGES / name) for name in ("postgres", "pgbouncer", "authority")]
