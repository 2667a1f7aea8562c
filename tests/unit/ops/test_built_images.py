"""The stack file with our images by their content, whichever way Pulumi wrote the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headroom import local
from headroom.capacity import demand
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import images
from headroom.ops import deploy
from headroom.progress import Silent

SERVICES = {
    "ours": {
        "preset": "fastapi",
        "image": "localhost/headroom/inference:0.1.0",
        "demand": {"targetRps": 900, "latency": {"p99": "100ms"}},
        "profile": {"rpsPerPod": 100, "serviceTime": "8ms"},
        "env": {"GREETING": "été ≤ 3"},
    },
}


@pytest.mark.parametrize("write", [lambda value: value, json.dumps], ids=["mapping", "JSON text"])
def test_our_images_are_named_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    refs = {"inference": "localhost/headroom/inference:abc", "redis": "localhost/headroom/redis:def"}
    monkeypatch.setattr(images, "load", lambda *_: refs)
    file = tmp_path / "Pulumi.mine.yaml"
    config = {"environment": "dev", "services": write(SERVICES), "redis": write({}), "images": write({})}
    file.write_text(json.dumps({"config": {f"headroom:{key}": value for key, value in config.items()}}))
    kubectl = Kubectl(Path("kubectl"), tmp_path / "kubeconfig")
    cluster = local.Cluster(
        name="x", state=tmp_path, kubeconfig=tmp_path / "kubeconfig", kubectl=Path("kubectl"), nodes="real",
        context="x", server="", services="",
    )  # fmt: skip
    request = deploy.Request("mine", file, Target(kubectl, title="x"), cluster)
    made = deploy._with_built_images(request, request.plan(), Silent())
    found = demand.load("mine", made)
    assert found.services["ours"].image == refs["inference"]
    assert found.services["ours"].env == {"GREETING": "été ≤ 3"}
    assert found.images.redis == refs["redis"]
