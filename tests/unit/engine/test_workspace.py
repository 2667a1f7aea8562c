"""The stack file that the Pulumi CLI gets for a cluster that the user names."""

from __future__ import annotations

import stat
from pathlib import Path

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
