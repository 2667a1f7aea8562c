"""What a save says of itself, and when a loaded frame is not what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from headroom_h2o import contents, kube, transfer
from headroom_h2o.contents import Column, Frame, Model, Saved
from headroom_h2o.rest import Api, H2OError

COLUMNS = (
    Column("x", "real", "", 3, 1, -5.5, 7.25, 0.1),
    Column("kind", "enum", "abc", 0, 10, 0, 2, 0.5),
    Column("none", "missing", "", 1000),
)
FRAME = Frame("train", 1000, COLUMNS, "/export/A/frames/00000")
SAVED = Saved("A", "saved", (FRAME,), (Model("gbm", "/export/A/models/00000"),))


def changed(**fields: Any) -> Frame:
    return replace(FRAME, columns=(replace(COLUMNS[0], **fields), *COLUMNS[1:]))


def test_a_record_comes_back_as_it_was() -> None:
    data = contents.pack(SAVED)
    assert contents.unpack(data) == SAVED
    assert data["state"] == "saved"
    assert "1 frames, 1 models" in data["summary"]
    assert contents.unpack({}) is None


def test_a_record_of_many_wide_frames_fits_a_config_map() -> None:
    columns = tuple(Column(f"column_{n}", "real", "", n, n, -n / 7, n / 3, n / 9) for n in range(200))
    frames = tuple(replace(FRAME, key=f"frame_{n}", columns=columns) for n in range(200))
    assert sum(map(len, contents.pack(replace(SAVED, frames=frames)).values())) < 2**20


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(FRAME, rows=999), "999 rows instead of 1000"),
        (changed(type="enum"), "column x is enum instead of real"),
        (changed(missing=4), "column x has 4 missing values instead of 3"),
        (changed(zeros=0), "column x has other values"),
        (changed(low=-5.25), "column x has other values"),
        (changed(mean=0.1001), "column x has other values"),
        (replace(FRAME, columns=COLUMNS[:2]), "other columns"),
    ],
)
def test_a_frame_that_is_not_what_it_was_is_seen(now: Frame, words: str) -> None:
    assert contents.differences(FRAME, now) == [words]


@pytest.mark.parametrize(
    "now",
    [
        FRAME,
        changed(type="int"),
        changed(mean=0.1 + 1e-15),
        replace(FRAME, columns=(*COLUMNS[:2], replace(COLUMNS[2], type="real"))),
        # Levels in another order have other numbers.
        replace(FRAME, columns=(COLUMNS[0], replace(COLUMNS[1], levels="cba", mean=1.5, zeros=3), COLUMNS[2])),
    ],
)
def test_what_h2o_may_write_otherwise_is_no_difference(now: Frame) -> None:
    assert contents.differences(FRAME, now) == []


def test_a_save_keeps_what_an_earlier_one_holds_and_nobody_loaded() -> None:
    """Else a resize that failed half-way would be made good by losing everything."""
    empty = Saved("B", "saved", (), ())
    both = transfer.joined(SAVED, empty)
    assert (both.id, both.frames, both.models) == ("B", SAVED.frames, SAVED.models)
    newer = replace(FRAME, rows=5, place="/export/B/frames/00000")
    assert transfer.joined(SAVED, Saved("B", "saved", (newer,), ())).frames == (newer,)


def test_only_what_no_record_needs_is_removed_from_the_volume(tmp_path: Path) -> None:
    for name in ("20260101T000000Z", "20260102T000000Z", "20260103T000000Z", "of-somebody-else"):
        (tmp_path / name).mkdir()
    frame = replace(FRAME, place=f"{tmp_path}/20260102T000000Z/frames/00000")
    transfer.clean(str(tmp_path), Saved("20260103T000000Z", "loaded", (frame,), ()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["20260102T000000Z", "20260103T000000Z", "of-somebody-else"]


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A Job's environment, an API server that has a cluster, and what was written to its record."""
    (tmp_path / "h2oUi").write_text("password")
    settings = {
        "POD_NAMESPACE": "ml",
        "H2O_WORKLOAD": "h2o-cluster",
        "H2O_LEADER": "127.0.0.1",
        "H2O_RECORD": "h2o-saved",
        "H2O_SPEC_HASH": "wanted",
        "H2O_EXPORT_ROOT": str(tmp_path),
        "H2O_NODE_EXPECTED_COUNT": "2",
        "H2O_LOGIN": str(tmp_path),
        "H2O_PATIENCE_SECONDS": "0.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    world: dict[str, Any] = {"live": "other", "record": {}}
    monkeypatch.setattr(kube, "annotation", lambda *_: world["live"])
    monkeypatch.setattr(kube, "read", lambda *_: dict(world["record"]))
    monkeypatch.setattr(kube, "write", lambda *call: world["record"].update(call[2]))
    monkeypatch.setattr(Api, "size", lambda _: 2)
    monkeypatch.setattr(transfer, "save", lambda *_: replace(SAVED, id="B"))
    return world


@pytest.mark.parametrize(("live", "words"), [(None, "no cluster yet"), ("wanted", "stays as it is")])
def test_nothing_is_saved_where_nothing_is_replaced(
    task: dict[str, Any], live: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task["live"] = live
    assert transfer.drain_main() == 0
    assert task["record"] == {}
    assert words in capsys.readouterr().out


def test_a_cluster_about_to_be_replaced_is_saved(task: dict[str, Any]) -> None:
    assert transfer.drain_main() == 0
    assert task["record"]["state"] == "saved"


def test_a_save_that_fails_fails_the_job_and_leaves_the_record(
    task: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> Saved:
        raise H2OError("no space left on device")

    monkeypatch.setattr(transfer, "save", fail)
    assert transfer.drain_main() == 1
    assert task["record"] == {}
    assert "no space left" in capsys.readouterr().out


def test_a_cluster_that_does_not_answer_is_not_taken_for_an_empty_one(
    task: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Api, "size", lambda _: 0)
    assert transfer.drain_main() == 1
    assert task["record"] == {}
    assert "no usable cluster" in capsys.readouterr().out


def test_what_was_loaded_is_not_loaded_again(task: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert transfer.fill_main() == 0
    task["record"] = contents.pack(replace(SAVED, state="loaded"))
    assert transfer.fill_main() == 0
    assert capsys.readouterr().out.count("nothing is waiting") == 2


def test_a_load_that_fails_is_not_marked_as_done(task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    task["record"] = contents.pack(SAVED)

    def fail(*_: Any) -> None:
        raise H2OError("frame train was loaded with 999 rows instead of 1000")

    monkeypatch.setattr(transfer, "load", fail)
    assert transfer.fill_main() == 1
    assert task["record"]["state"] == "saved"
    monkeypatch.setattr(transfer, "load", lambda *_: None)
    assert transfer.fill_main() == 0
    assert task["record"]["state"] == "loaded"
