"""Train the sample model: `python -m inference.train --out DIR`.

Gradient boosting of 200 trees over scikit-learn's breast cancer set (569 rows of 30 features, two classes), written as
ONNX. DIR gets

- `model.onnx`: input `features`, float32 [rows, 30]; outputs `label` int64 [rows] and `probabilities` float32 [rows, 2]
- `features.csv`: `entity_id` and the 30 features of every row, what `headroom features load` takes
- `model.json`: the names of features and classes, and the accuracy on the held-out quarter

Needs scikit-learn and skl2onnx, which serving does not.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

TREES = 200
SEED = 20240229


def train(out: Path) -> dict[str, Any]:
    """Train, and write the three files into `out`. Returns what `model.json` says.

    Raises ImportError without scikit-learn or skl2onnx, OSError when `out` cannot be written. The same versions of
    both give the same trees.
    """
    import numpy as np  # noqa: PLC0415 - training is the only part that needs these, and the server can go without
    from skl2onnx import convert_sklearn  # noqa: PLC0415
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    data = load_breast_cancer()
    # float32 before training: the split points then suit the float32 input that the ONNX model takes.
    rows = data.data.astype(np.float32)
    known, held_out, known_class, held_out_class = train_test_split(
        rows, data.target, test_size=0.25, random_state=SEED, stratify=data.target
    )
    model = GradientBoostingClassifier(n_estimators=TREES, max_depth=3, random_state=SEED)
    model.fit(known, known_class)
    names = [str(name) for name in data.feature_names]
    about = {
        "name": "breast-cancer",
        "trees": TREES,
        "features": names,
        "classes": [str(name) for name in data.target_names],
        "accuracy": round(float(model.score(held_out, held_out_class)), 4),
    }
    onnx = convert_sklearn(
        model,
        initial_types=[("features", FloatTensorType([None, rows.shape[1]]))],
        options={"zipmap": False},
        target_opset=18,
    )

    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(onnx.SerializeToString())
    with (out / "features.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["entity_id", *names])
        for number, row in enumerate(data.data):
            writer.writerow([entity_id(number), *(repr(float(value)) for value in row)])
    (out / "model.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return about


def entity_id(number: int) -> str:
    """The sample's entity of row `number`: `entity-0000` and so on."""
    return f"entity-{number:04d}"


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m inference.train", description="Train the sample model.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for model.onnx and features.csv")
    out: Path = parser.parse_args(arguments).out
    try:
        about = train(out)
    except ImportError as missing:
        print(f"training needs scikit-learn and skl2onnx: {missing}", file=sys.stderr)
        print("  fix: pip install scikit-learn skl2onnx", file=sys.stderr)
        return 1
    except OSError as failure:
        print(f"cannot write the model to {out}: {failure}", file=sys.stderr)
        print("  fix: give --out a folder that can be written", file=sys.stderr)
        return 1
    print(f"{about['name']}: {about['trees']} trees, accuracy {about['accuracy']}, written to {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
