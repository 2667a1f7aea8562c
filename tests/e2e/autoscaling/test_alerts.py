"""The unit tests of the alerts need promtool, which the add-ons build: here they are never skipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headroom.local import binaries
from headroom.progress import Silent

pytestmark = pytest.mark.e2e

ALERTS = Path(__file__).resolve().parents[2] / "unit/monitoring/test_alerts.py"


def test_every_alert_fires_and_none_when_all_is_well() -> None:
    binaries.ensure((binaries.PROMETHEUS,), Silent())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ALERTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout, done.stdout[-4000:]
