"""Where the model is, and the sample that stands in when nobody named one."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import StartError
from inference.settings import Settings
from inference.train import train

IMAGE_MODEL = Path("/model/model.onnx")


def find_model(settings: Settings) -> tuple[Path, bool]:
    """The ONNX file, and whether it was trained just now.

    Without MODEL_PATH it is the image's, else a sample in the user's cache folder. Where the file is missing the sample
    is trained there, if scikit-learn is installed; never with a database configured, whose features another model
    takes. Raises StartError with the fix.
    """
    path = settings.model_path or (IMAGE_MODEL if IMAGE_MODEL.is_file() else _cached())
    if path.is_file():
        return path, False
    if settings.database_url is not None:
        raise StartError(f"there is no model at {path}", fix="set MODEL_PATH to the ONNX file of your model")
    install = "pip install scikit-learn skl2onnx"
    fix = f"set MODEL_PATH to an ONNX file, or: {install} && python -m inference.train --out {path.parent}"
    if path.name != "model.onnx":
        raise StartError(f"there is no model at {path}", fix=fix)
    try:
        train(path.parent)
    except ImportError:
        raise StartError(
            f"there is no model at {path}, and none can be trained here: scikit-learn and skl2onnx are not installed",
            fix=fix,
        ) from None
    except OSError as failure:
        raise StartError(f"there is no model at {path}, and the sample cannot be written: {failure}", fix=fix) from None
    return path, True


def read_features(path: Path) -> dict[str, NDArray[np.float64]]:
    """Features by entity from a CSV with the column `entity_id` and a column a feature.

    Raises StartError naming the line that cannot be read.
    """
    fix = (
        "set SAMPLE_FEATURES to a CSV with the columns entity_id and one a feature, or DATABASE_URL to a feature store"
    )
    rows: dict[str, NDArray[np.float64]] = {}
    number = 1
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if not header or header[0] != "entity_id":
                raise StartError(f"{path}: the first column must be entity_id", fix=fix)
            for number, line in enumerate(reader, start=2):
                if len(line) != len(header):
                    raise StartError(f"{path}:{number}: {len(line)} columns, the header has {len(header)}", fix=fix)
                rows[line[0]] = np.array([float(value) for value in line[1:]], dtype=np.float64)
    except (OSError, UnicodeDecodeError) as failure:
        raise StartError(f"no features to serve: {failure}", fix=fix) from None
    except ValueError as failure:
        raise StartError(f"{path}:{number}: {failure}", fix=fix) from None
    return rows


def _cached() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "headroom" / "sample-model" / "model.onnx"
