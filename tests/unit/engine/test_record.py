"""Which of the stack records on a cluster are heeded."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headroom.engine import record
from headroom.engine.record import Record
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl

MINE = Record("mine", "ml", (), state="ready")


def broken(namespace: str, label: str, **data: str) -> dict[str, Any]:
    return {**Record(label, namespace, ()).manifest(), "data": {"objects": "no JSON", **data}}


def on(*found: dict[str, Any]) -> Kubectl:
    class Cluster(Kubectl):
        def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(args, 0, json.dumps({"items": found}), "")

    return Cluster(Path("kubectl"), Path("kubeconfig"))


@pytest.mark.parametrize("data", [{}, {"stack": "another"}, {"stack": "another", "objects": '[{"kind": "x"}]'}])
def test_what_cannot_be_read_in_another_namespace_stops_no_stack_but_its_own(data: dict[str, str]) -> None:
    cluster = on(broken("elsewhere", "another", **data), MINE.manifest())
    assert record.find(cluster, "mine", "ml") == (MINE,)
    with pytest.raises(EnvironmentFailure, match=f"configmap/{record.NAME} in elsewhere cannot be read"):
        record.find(cluster, "another", "a-third")


@pytest.mark.parametrize(
    "found",
    [broken("elsewhere", "mine"), broken("elsewhere", "another", stack="mine"), broken("ml", "another")],
    ids=["its label", "its data", "its namespace"],
)
def test_the_stacks_own_record_must_be_readable(found: dict[str, Any]) -> None:
    with pytest.raises(EnvironmentFailure, match="cannot be read") as caught:
        record.find(on(found), "mine", "ml")
    assert f"-n {found['metadata']['namespace']}" in caught.value.fix
