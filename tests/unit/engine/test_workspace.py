"""The stack file that the Pulumi CLI gets for a cluster that the user names."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom.engine import workspace
from headroom.engine.model import Deployment, Target
from headroom.kubectl import Kubectl


def test_the_context_is_added_to_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "Pulumi.prod.yaml"
    text = "secretsprovider: awskms://x\nencryptedkey: abc\nconfig:\n  headroom:namespace: ml # why\n"
    source.write_text(text)
    target = Target(Kubectl(Path("/bin/kubectl"), None, "my-context"), "my-context")
    with workspace.named(Deployment(tmp_path, "prod", target, config_file=source)) as work:
        copied = yaml.safe_load(work.config_file.read_text())
        assert stat.S_IMODE(work.config_file.stat().st_mode) == 0o600
        assert work.folder == tmp_path
        assert not work.may_create
    assert copied == {
        "secretsprovider": "awskms://x",
        "encryptedkey": "abc",
        "config": {"headroom:namespace": "ml", "kubernetes:context": "my-context"},
    }
    assert source.read_text() == text
    assert not work.config_file.exists()


@pytest.mark.parametrize("kubeconfig", ["/home/me/other", {"secure": "v1:abc"}])
def test_the_files_own_choice_of_a_cluster_ends_where_another_is_named(tmp_path: Path, kubeconfig: Any) -> None:
    """What was checked through kubectl and what Pulumi updates would be two clusters, or one and a program to run."""
    source = tmp_path / "Pulumi.prod.yaml"
    chosen = {"kubernetes:kubeconfig": kubeconfig, "kubernetes:context": "theirs"}
    source.write_text(json.dumps({"config": {"headroom:namespace": "ml", **chosen}}))
    for given, wanted in (
        (Kubectl(Path("/bin/kubectl"), None, "mine"), {"kubernetes:context": "mine"}),
        (Kubectl(Path("/bin/kubectl"), Path("/k")), {"kubernetes:kubeconfig": "/k"}),
    ):
        target = Target(given, "a cluster")
        with workspace.named(Deployment(tmp_path, "prod", target, config_file=source)) as work:
            copied = yaml.safe_load(work.config_file.read_text())["config"]
        assert copied == {"headroom:namespace": "ml", **wanted}
