"""A real H2O cluster: it forms, is used through its own client, outlives a node, and carries its memory over."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from headroom.errors import EnvironmentFailure
from headroom.local import faults
from headroom.ops.verify import Verdict

pytestmark = pytest.mark.e2e

NAMESPACE = "h2o-test"
TRAIN = """
from h2o.estimators import H2OGradientBoostingEstimator
prostate = h2o.assign(h2o.load_dataset("prostate"), "prostate")
prostate["CAPSULE"] = prostate["CAPSULE"].asfactor()
h2o.assign(prostate, "prostate_labelled")
features = ["AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"]
model = H2OGradientBoostingEstimator(ntrees=20, seed=7, model_id="gbm")
model.train(x=features, y="CAPSULE", training_frame=prostate)
"""
MIXED = r"""
rows = 40
mixed = h2o.H2OFrame(
    {
        "text": ["a", 'b,"c"', "", "x\ny", None] * rows,
        "real": [0.1 + 0.2, 1e-300, None, -1.5e20, 3.0] * rows,
        "label": ["007", "1", "a b", None, "\u00e9"] * rows,
        "time": [1600000000123, None, 0, 1, 2] * rows,
        "whole": [2**53 - 1, 2, 3, None, -5] * rows,
    },
    column_types={"text": "string", "real": "real", "label": "enum", "time": "time", "whole": "int"},
    destination_frame="mixed",
)
"""
LOOK = """
frames = {}
for key in ("prostate_labelled", "mixed"):
    frame = h2o.get_frame(key)
    frames[key] = {
        "rows": frame.nrow, "types": frame.types,
        "values": frame.as_data_frame(use_pandas=False),
    }
predicted = h2o.get_model("gbm").predict(h2o.get_frame("prostate_labelled")).as_data_frame(use_pandas=False)
print(json.dumps({"frames": frames, "predicted": predicted, "nodes": h2o.cluster().cloud_size}))
"""


def test_a_cloud_forms_and_one_node_leads(site: Any) -> None:
    assert site.usable(2)
    pods = site.kubectl.items("pods", NAMESPACE, "app.kubernetes.io/name=h2o-cluster")
    roles = sorted(p["metadata"]["labels"]["headroom.dev/h2o-role"] for p in pods)
    assert roles == ["leader", "member"]
    assert site.up().changes.empty, "a second up changes nothing"


def test_a_gradient_boosting_model_is_trained_and_predicts(site: Any) -> None:
    script = TRAIN + "\n".join(
        [
            "predicted = model.predict(prostate)",
            "from h2o.estimators import H2OXGBoostEstimator",
            'print(json.dumps({"nodes": h2o.cluster().cloud_size, "auc": model.auc(), "rows": predicted.nrow, '
            '"xgboost": H2OXGBoostEstimator.available()}))',
        ]
    )
    found = site.client(script)
    assert found["nodes"] == 2
    assert found["auc"] > 0.8
    assert found["rows"] == 380
    assert found["xgboost"] is False, "the plan has no memory for it"


def test_nobody_comes_in_without_the_password(site: Any) -> None:
    script = """
import urllib.error, urllib.request
answers = {}
for path in ("/3/Cloud", "/flow/index.html", "/3/Frames"):
    try:
        answers[path] = urllib.request.urlopen("http://h2o:54321" + path).status
    except urllib.error.HTTPError as error:
        answers[path] = error.code
print(json.dumps(answers))
"""
    assert set(site.client(script).values()) == {401}


def test_a_node_holds_neither_the_password_nor_a_token(site: Any) -> None:
    """Whoever may use H2O may read any file of its container."""
    password = site.kubectl.run(
        "exec", "-n", NAMESPACE, "h2o-cluster-0", "-c", "guard", "--", "cat", "/etc/h2o/login/h2oUi"
    ).stdout.strip()
    search = ["grep", "-rls", "--", password, "/run", "/etc", "/tmp", "/proc/1/cmdline", "/proc/1/environ"]  # noqa: S108
    done = site.kubectl.run(
        "exec", "-n", NAMESPACE, "h2o-cluster-0", "-c", "h2o", "--", *search, check=False, timeout=120
    )
    assert len(password) > 15
    assert done.stdout == ""
    found = site.kubectl.run(
        *("exec", "-n", NAMESPACE, "h2o-cluster-0", "-c", "h2o", "--", "ls", "/var/run/secrets"), check=False
    )
    assert found.returncode != 0


def test_the_guard_may_label_the_nodes_and_nothing_else(site: Any) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:h2o-cluster"

    def may(*what: str) -> bool:
        done = site.kubectl.run("auth", "can-i", *what, "-n", NAMESPACE, account, check=False)
        return bool(done.stdout.strip() == "yes")

    assert may("patch", "pods/h2o-cluster-0")
    assert not may("patch", "pods/h2o-client")
    for what in (
        ("get", "secrets"),
        ("delete", "pods"),
        ("get", "pods"),
        ("create", "pods"),
        ("patch", "statefulsets"),
    ):
        assert not may(*what), what


def test_verify_knows_the_cloud(site: Any) -> None:
    site.client(TRAIN + 'print("{}")')
    found = [f for f in site.verify() if f.component == "h2o"]
    assert {f.check for f in found} >= {"cloud", "leader", "lock", "heap"}
    assert [f for f in found if f.verdict is not Verdict.passed] == []


def test_a_lost_node_is_made_up_for_without_a_person(site: Any) -> None:
    site.client(TRAIN + 'print("{}")')
    before = [site.guard(n)["token"] for n in range(2)]
    faults.kill(site.cluster, NAMESPACE, "h2o-cluster-1", "h2o")
    _formed_anew(site, before)
    assert site.client(TRAIN + 'print(json.dumps({"nodes": h2o.cluster().cloud_size}))') == {"nodes": 2}


def test_a_guard_that_restarts_leaves_a_healthy_cloud_alone(site: Any) -> None:
    before = [site.guard(n)["token"] for n in range(2)]
    faults.kill(site.cluster, NAMESPACE, "h2o-cluster-0", "guard")
    deadline = time.monotonic() + 120
    while not site.usable(2):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [site.guard(n)["token"] for n in range(2)] == before


def test_a_failed_export_stops_before_anything_is_deleted(site: Any) -> None:
    site.client(TRAIN + MIXED + 'print("{}")')
    uid = site.kubectl.get("statefulset", "h2o-cluster", "-n", NAMESPACE)["metadata"]["uid"]
    volume = _volume(site)
    volume.chmod(0o555)
    try:
        with pytest.raises(EnvironmentFailure, match="h2o-drain"):
            site.up(nodes=3)
    finally:
        volume.chmod(0o777)
    assert site.kubectl.get("statefulset", "h2o-cluster", "-n", NAMESPACE)["metadata"]["uid"] == uid
    assert site.client('print(json.dumps([f["frame_id"]["name"] for f in h2o.api("GET /3/Frames")["frames"]]))')
    site.kubectl.run("delete", "jobs", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=h2o-jobs")


def test_a_resize_carries_every_row_and_the_model_over(site: Any) -> None:
    site.client(TRAIN + MIXED + 'print("{}")')
    before = site.client(LOOK)
    change = next(c for c in site.preview(nodes=3).items if (c.kind, c.name) == ("StatefulSet", "h2o-cluster"))
    assert change.action == "replace", "a preview says so"
    site.up(nodes=3)
    after = site.client(LOOK)
    assert (before.pop("nodes"), after.pop("nodes")) == (2, 3)
    for key, frame in before["frames"].items():
        assert after["frames"][key]["types"] == frame["types"]
        assert _same(frame["values"], after["frames"][key]["values"]), key
    assert _same(before["predicted"], after["predicted"])
    assert len(after["predicted"]) == 381
    record = site.kubectl.get("configmap", "h2o-saved", "-n", NAMESPACE)["data"]
    assert record["state"] == "loaded"


@pytest.mark.slow
def test_a_cloud_forms_by_flatfile_and_outlives_a_deleted_pod(site: Any) -> None:
    site.up(nodes=2, discovery="flatfile")
    site.client(TRAIN + 'print("{}")')
    before = [site.guard(n)["token"] for n in range(2)]
    site.kubectl.run("delete", "pod", "h2o-cluster-0", "-n", NAMESPACE, "--wait=false")
    _formed_anew(site, before)
    assert site.client(TRAIN + 'print(json.dumps({"nodes": h2o.cluster().cloud_size}))') == {"nodes": 2}


@pytest.mark.slow
def test_xgboost_trains_on_all_nodes_where_the_plan_has_room_for_it(site: Any) -> None:
    site.up(nodes=2, xgboost=True)
    script = """
from h2o.estimators import H2OXGBoostEstimator
frame = h2o.create_frame(rows=200_000, cols=10, categorical_fraction=0, missing_fraction=0, has_response=True,
                         response_factors=2, seed=7)
model = H2OXGBoostEstimator(ntrees=20, seed=7)
model.train(x=[n for n in frame.columns if n != "response"], y="response", training_frame=frame)
print(json.dumps({"nodes": h2o.cluster().cloud_size, "rows": model.predict(frame).nrow}))
"""
    assert site.client(script) == {"nodes": 2, "rows": 200_000}
    _nobody_was_killed(site)


@pytest.mark.slow
def test_the_planned_heap_fills_up_without_the_kernel_killing_a_node(site: Any) -> None:
    """Frames until H2O itself refuses more: what it keeps outside the heap must fit beside a full one."""
    site.up(nodes=2)
    fill = """
held, refused = [], ""
for number in range(60):
    try:
        frame = h2o.create_frame(rows=400_000, cols=20, categorical_fraction=0, integer_fraction=0,
                                 string_fraction=0, time_fraction=0, binary_fraction=0, missing_fraction=0,
                                 frame_id=f"load_{number}", seed=number)
        held.append(frame.nrow)
    except Exception as error:
        refused = str(error)[:200]
        break
    cloud = h2o.api("GET /3/Cloud")
    free = sum(n["free_mem"] for n in cloud.nodes) / sum(n["max_mem"] for n in cloud.nodes)
    if free < 0.15:
        break
print(json.dumps({"frames": len(held), "free": free, "refused": refused}))
"""
    found = site.client(fill, timeout=900)
    assert found["frames"] > 5, found
    assert found["refused"] or found["free"] < 0.15, found
    _nobody_was_killed(site)


def _nobody_was_killed(site: Any) -> None:
    pods = site.kubectl.items("pods", NAMESPACE, "app.kubernetes.io/name=h2o-cluster")
    for pod in pods:
        for status in pod["status"]["containerStatuses"]:
            ended = json.dumps([status["state"], status["lastState"]])
            assert "OOMKilled" not in ended, (pod["metadata"]["name"], ended)


def _same(before: list[list[str]], after: list[list[str]]) -> bool:
    """Every cell of every row in its place. H2O's parser may move the last digit of a real number."""

    def alike(a: str, b: str) -> bool:
        try:
            return a == b or math.isclose(float(a), float(b), rel_tol=1e-14)
        except ValueError:
            return False

    return len(before) == len(after) and all(
        len(x) == len(y) and all(map(alike, x, y)) for x, y in zip(before, after, strict=True)
    )


def _formed_anew(site: Any, before: list[str]) -> None:
    deadline = time.monotonic() + 600
    while True:
        tokens = [site.guard(n).get("token") for n in range(2)]
        if not set(tokens) & {*before, None} and site.usable(2):
            return
        assert time.monotonic() < deadline, tokens
        time.sleep(0.5)


def _volume(site: Any) -> Path:
    """The export volume's folder on this machine."""
    claim = site.kubectl.get("pvc", "h2o-export", "-n", NAMESPACE)
    volume = site.kubectl.get("pv", claim["spec"]["volumeName"])
    return Path(volume["spec"]["local"]["path"])
