"""What must never change on a live object."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.engine.fixed import FIXED, FIXED_BECAUSE, reason


def claim(storage: str = "10Gi", storage_class: str | None = "fast", mode: str | None = "mode cluster") -> Any:
    notes = {FIXED_BECAUSE: "files of one mode", **({FIXED: mode} if mode else {})}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-redis-0", "annotations": notes},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
            **({"storageClassName": storage_class} if storage_class else {}),
        },
    }


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (claim(), ""),
        (claim(storage="20Gi"), ""),
        (claim(storage_class=None), ""),
        (claim(storage="9Gi"), "its volume has 10Gi, and volumes cannot shrink (to 9Gi)"),
        (claim(storage_class="slow"), "its volume is of storage class fast, and cannot become slow"),
        (claim(mode="mode sentinel"), "files of one mode"),
    ],
)
def test_a_claim(wanted: Any, says: str) -> None:
    assert reason(wanted, claim()) == says


def test_a_claim_that_says_nothing_yet_may_be_told() -> None:
    assert reason(claim(), claim(mode=None)) == ""
    assert reason(claim(), claim(storage_class=None)) == ""


def test_the_data_of_what_is_fixed() -> None:
    def shards(number: str, **notes: str) -> Any:
        return {"kind": "ConfigMap", "metadata": {"name": "x", "annotations": notes}, "data": {"shards": number}}

    assert reason(shards("3", **{FIXED_BECAUSE: "they hold data"}), shards("2")) == "they hold data"
    assert reason(shards("2", **{FIXED_BECAUSE: "they hold data"}), shards("2")) == ""
    assert reason(shards("3"), shards("2")) == ""
