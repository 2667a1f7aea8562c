"""BentoML and Ray Serve in a throw-away virtual environment: they are compared with, never depended on."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("bentoml", "ray[serve]")


def install(folder: Path) -> Path | None:
    """The Python of a virtual environment in `folder` with both; None, and a line that says why, where it cannot be.

    The model runs on the same releases of ONNX Runtime and NumPy as ours.
    """
    environment = folder / "others"
    same = [f"{name}=={version(name)}" for name in ("onnxruntime", "numpy")]
    python = environment / "bin" / "python"
    print(f"installing {' and '.join(PACKAGES)} to compare with", file=sys.stderr, flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(environment)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES, *same],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            print(f"not compared with {' and '.join(PACKAGES)}: {reason}", file=sys.stderr)
            return None
    return python
