"""The ONNX model: a matrix of features in, a prediction a row out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from inference.errors import ModelFailed, StartError

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row's outcome: the model's first output, and its second (class probabilities) where it has one."""

    value: Any
    scores: list[float] | None


class Model:
    """Any ONNX model with one input [rows, features] and outputs whose first dimension is the rows.

    `width` is the number of features, None where the model leaves it open. `version` is the start of the file's
    SHA-256. Calls are safe from several threads, and release the interpreter's lock while the model runs.
    """

    def __init__(self, path: Path) -> None:
        """Raises StartError when the file cannot be read, is not ONNX, or has another shape of input."""
        options = ort.SessionOptions()
        # One core a call: the worker threads are the parallelism, and more would fight over a pod's quota.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            content = path.read_bytes()
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as failure:  # ONNX Runtime has no base class of its own
            reason = str(failure).splitlines()[0]
            raise StartError(
                f"the model {path} cannot be loaded: {reason}", fix="set MODEL_PATH to an ONNX file"
            ) from None
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 2 or inputs[0].type not in _DTYPES:
            found = ", ".join(f"{i.name} {i.type}{i.shape}" for i in inputs)
            raise StartError(
                f"the model {path} takes {found}; the service feeds one numeric input of [rows, features]",
                fix="export the model with a single matrix as its input",
            )
        self.path = path
        self.version = hashlib.sha256(content).hexdigest()[:12]
        self._input: str = inputs[0].name
        self._outputs: list[str] = [output.name for output in self._session.get_outputs()[:2]]
        self.width: int | None = inputs[0].shape[1] if isinstance(inputs[0].shape[1], int) else None
        self.dtype = _DTYPES[inputs[0].type]

    def row(self, features: NDArray[np.float64]) -> NDArray[Any]:
        """Features of one entity as the model takes them, shape [1, width]. Raises ModelFailed for another width."""
        if self.width is not None and features.shape[-1] != self.width:
            raise ModelFailed(f"the model takes {self.width} features, the feature store has {features.shape[-1]}")
        return features.astype(self.dtype, copy=False).reshape(1, -1)

    def predict(self, rows: NDArray[Any]) -> list[Prediction]:
        """Score rows [n, width]; n predictions. Blocks. Raises ModelFailed when the runtime refuses them."""
        try:
            outputs = self._session.run(self._outputs, {self._input: rows})
        except Exception as failure:
            raise ModelFailed(str(failure).splitlines()[0]) from failure
        values = outputs[0].reshape(len(rows), -1)
        first = values[:, 0].tolist() if values.shape[1] == 1 else values.tolist()
        if len(outputs) == 1:
            return [Prediction(value, None) for value in first]
        scores = np.asarray(outputs[1]).reshape(len(rows), -1).tolist()
        return [Prediction(value, score) for value, score in zip(first, scores, strict=True)]
