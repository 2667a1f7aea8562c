"""The Jobs around a resize. `drain` saves what is in memory before the cluster is deleted, `fill` loads it after.

Both look at what is there and do nothing where there is nothing to do. A `drain` that fails ends with 1, and nothing
that depends on it happens: the cluster stays. What was saved stays until the next save was loaded.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headroom_h2o import kube
from headroom_h2o.contents import Frame, Model, Saved, differences, frame, pack, unpack
from headroom_h2o.rest import Api, H2OError
from headroom_h2o.settings import REST_PORT, password

SPEC_HASH = "headroom.dev/spec-hash"
# What H2O's parser calls the types of its frames; one that is not here is left to its guess.
TYPES = {"int": "Numeric", "real": "Numeric", "enum": "Enum", "string": "String", "time": "Time", "uuid": "UUID"}


@dataclass(frozen=True)
class Task:
    """What a Job is told. `root` is where every node can write: a folder, or an address of object storage."""

    namespace: str
    workload: str
    leader: str
    record: str
    spec: str
    root: str
    nodes: int
    login: Path
    patience: float

    @staticmethod
    def read() -> Task:
        """From the variables that the Job's template sets. Raises KeyError for one that is missing."""
        env = os.environ
        return Task(
            namespace=env["POD_NAMESPACE"],
            workload=env["H2O_WORKLOAD"],
            leader=env["H2O_LEADER"],
            record=env["H2O_RECORD"],
            spec=env["H2O_SPEC_HASH"],
            root=env["H2O_EXPORT_ROOT"].rstrip("/"),
            nodes=int(env["H2O_NODE_EXPECTED_COUNT"]),
            login=Path(env.get("H2O_LOGIN", "/etc/h2o/login")),
            patience=float(env.get("H2O_PATIENCE_SECONDS", "300")),
        )


def drain_main() -> int:
    """Save what is in memory, if the cluster is about to be replaced."""
    task = Task.read()
    live = kube.annotation(task.namespace, task.workload, SPEC_HASH)
    if live is None:
        print("there is no cluster yet: nothing to save")
        return 0
    if live == task.spec:
        print("the cluster stays as it is: nothing to save")
        return 0
    return _run(lambda: _drain(task))


def fill_main() -> int:
    """Load what was saved, if it was not loaded yet."""
    task = Task.read()
    saved = unpack(kube.read(task.namespace, task.record))
    if saved is None or saved.state == "loaded":
        print("nothing is waiting to be loaded")
        return 0
    return _run(lambda: _fill(task, saved))


def _run(work: Callable[[], None]) -> int:
    try:
        work()
    except (H2OError, kube.ApiError, OSError) as error:
        print(f"failed: {error}", flush=True)
        return 1
    return 0


def _drain(task: Task) -> None:
    api = _leader(task, "it must answer before it may be replaced; where nothing in it matters, delete its StatefulSet")
    before = unpack(kube.read(task.namespace, task.record))
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    saved = save(api, f"{task.root}/{name}", name)
    if before is not None and before.state == "saved":
        saved = joined(before, saved)
    kube.write(task.namespace, task.record, pack(saved))
    rows = sum(f.rows for f in saved.frames)
    print(f"saved {len(saved.frames)} frames ({rows} rows) and {len(saved.models)} models in {task.root}/{name}")


def _fill(task: Task, saved: Saved) -> None:
    api = _leader(task, "see the log of the pods", nodes=task.nodes)
    load(api, saved)
    kube.write(task.namespace, task.record, pack(replace(saved, state="loaded")))
    rows = sum(f.rows for f in saved.frames)
    print(f"loaded {len(saved.frames)} frames ({rows} rows, each checked) and {len(saved.models)} models")
    clean(task.root, saved)


def save(api: Api, folder: str, name: str) -> Saved:
    """Every frame and model of the cloud, into a folder that does not exist yet. Raises H2OError, OSError."""
    frames: list[Frame] = []
    for found in api.get("/3/Frames")["frames"]:
        key = found["frame_id"]["name"]
        if found.get("is_text"):
            continue
        kept = _frame(api, key, f"{folder}/frames/{len(frames):05d}")
        if not kept.rows or not kept.columns:
            print(f"frame {key} is empty: not saved")
            continue
        # CSV: H2O's Parquet loses the missing values of categorical columns.
        how = {"path": kept.place, "format": "csv", "num_parts": -1, "force": True}
        answer = api.post(f"/3/Frames/{quote(key, safe='')}/export", **how)
        api.wait(answer["job"])
        frames.append(kept)
        print(f"saved frame {key}: {kept.rows} rows", flush=True)
    models: list[Model] = []
    for found in api.get("/3/Models")["models"]:
        key = found["model_id"]["name"]
        place = f"{folder}/models/{len(models):05d}"
        api.get(f"/99/Models.bin/{quote(key, safe='')}", dir=place, force="true")
        models.append(Model(key, place))
        print(f"saved model {key}", flush=True)
    return Saved(name, "saved", tuple(frames), tuple(models))


def joined(before: Saved, now: Saved) -> Saved:
    """A save that also keeps what an earlier one holds and nobody has loaded: the cloud between them was without it."""
    frames, models = {f.key for f in now.frames}, {m.key for m in now.models}
    return replace(
        now,
        frames=now.frames + tuple(f for f in before.frames if f.key not in frames),
        models=now.models + tuple(m for m in before.models if m.key not in models),
    )


def load(api: Api, saved: Saved) -> None:
    """Everything saved, each frame checked. Raises H2OError where one is not what it was."""
    for kept in saved.frames:
        _parse(api, kept)
        wrong = differences(kept, _frame(api, kept.key, kept.place))
        if wrong:
            raise H2OError(f"frame {kept.key} was loaded with {'; '.join(wrong)}")
        print(f"loaded frame {kept.key}: {kept.rows} rows", flush=True)
    for model in saved.models:
        api.post("/99/Models.bin/", dir=model.place)
        print(f"loaded model {model.key}", flush=True)
    there = {m["model_id"]["name"] for m in api.get("/3/Models")["models"]}
    missing = [m.key for m in saved.models if m.key not in there]
    if missing:
        raise H2OError(f"models were not loaded: {', '.join(missing)}")


def clean(root: str, saved: Saved) -> None:
    """Remove from the volume what no record needs any more. What was loaded last stays, in case."""
    places = [f.place for f in saved.frames] + [m.place for m in saved.models]
    needed = {saved.id, *(place.removeprefix(f"{root}/").split("/")[0] for place in places)}
    folder = Path(root)
    for old in folder.iterdir() if folder.is_absolute() and folder.is_dir() else ():
        if old.is_dir() and old.name.endswith("Z") and old.name not in needed:
            shutil.rmtree(old, ignore_errors=True)


def _parse(api: Api, kept: Frame) -> None:
    found = api.post("/3/ImportFilesMulti", paths=[f"{kept.place}/"])
    # H2O lists a folder in any order; the parts' names have that of the rows.
    sources = [source for _, source in sorted(zip(found["files"], found["destination_frames"], strict=True))]
    if not sources or found["fails"]:
        raise H2OError(f"frame {kept.key}: nothing to read in {kept.place}")
    setup: dict[str, Any] = api.post("/3/ParseSetup", source_frames=sources, check_header=1)
    names = setup["column_names"]
    if names != [c.name for c in kept.columns]:
        raise H2OError(f"frame {kept.key}: {kept.place} has other columns")
    guessed = setup["column_types"]
    answer = api.post(
        "/3/Parse",
        destination_frame=kept.key,
        source_frames=sources,
        parse_type=setup["parse_type"],
        separator=setup["separator"],
        number_columns=setup["number_columns"],
        single_quotes=False,
        column_names=names,
        column_types=[TYPES.get(c.type, guess) for c, guess in zip(kept.columns, guessed, strict=True)],
        check_header=setup["check_header"],
        delete_on_done=True,
        blocking=False,
        chunk_size=setup["chunk_size"],
    )
    api.wait(answer["job"])


def _frame(api: Api, key: str, place: str) -> Frame:
    return frame(api.get(f"/3/Frames/{quote(key, safe='')}/summary")["frames"][0], place)


def _leader(task: Task, advice: str, nodes: int | None = None) -> Api:
    """The leader's API, once its cloud is healthy and of the size asked for. Raises H2OError when it does not come."""
    api = Api(task.leader, REST_PORT, password(task.login))
    deadline = time.monotonic() + task.patience
    said = ""
    while time.monotonic() < deadline:
        try:
            size = replace(api, timeout=10).size()
            if size and nodes in (None, size):
                return api
            said = f"a cloud of {size}" if size else "the cloud is not healthy"
        except (H2OError, OSError) as error:
            said = str(error)
        time.sleep(1)
    raise H2OError(f"no usable cluster at {task.leader} within {task.patience:.0f} s ({said}); {advice}")
