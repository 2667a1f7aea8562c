"""What the Pulumi CLI says, as advice."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import OutputValue

from headroom.engine import automation, lock, other
from headroom.engine.model import Deployment, Target
from headroom.engine.rendered import Rendered
from headroom.errors import InputError
from headroom.kubectl import Kubectl
from headroom.progress import Silent


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Minimum version requirement failed. The minimum CLI version requirement is 3.2, your", "CLI up to date"),
        ("Pulumi CLI version 3.1.0 does not satisfy the version range >=3.2", "CLI up to date"),
        ("Pulumi CLI 3.260: the image's version has no such tag", "correct what Pulumi says"),
        ('The resource managed by field manager "pulumi-kubernetes-1" had an apply conflict: x', "somebody else set"),
        ('configmaps "a" already exists\n\nThe resource already exists in the cluster. This can', "pulumi import"),
    ],
)
def test_advice_fits_the_words(said: str, advice: str) -> None:
    assert advice in automation._fix(said)
    assert "rollback" not in automation._fix(said)


def test_an_update_that_failed_may_be_rolled_back() -> None:
    assert "headroom rollback" in automation._fix("error: pods never got ready", updating=True)
    assert "headroom rollback" not in automation._fix("incorrect passphrase", updating=True)


@pytest.mark.parametrize("operation", ["preview", "up"])
def test_another_namespace_is_refused_before_anything_runs(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Live:
        def outputs(self) -> dict[str, OutputValue]:
            return {"namespace": OutputValue("here", secret=False)}

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield automation._Opened(Live(), None, ours=False)  # type: ignore[arg-type]

    engine = automation.AutomationEngine()
    monkeypatch.setattr(engine, "_stack", opened)
    wanted = Rendered(project="headroom", stack="one", namespace="elsewhere", objects=(), resources=(), exports={})
    monkeypatch.setattr(automation, "_check", lambda _: wanted)
    with pytest.raises(InputError, match="lives in namespace here"):
        getattr(engine, operation)(None, Silent())


def locked_by(pid: int, host: str) -> str:
    return (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the "
        f"lock file with `pulumi cancel`.\n  file:///b/x.json: created by me@{host} (pid {pid}) at 2026-01-01T00:00:00Z"
    )


def test_a_lock_is_abandoned_when_its_process_of_this_machine_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    here = socket.gethostname()
    assert lock.abandoned(locked_by(process.pid, here))
    assert not lock.abandoned(locked_by(os.getpid(), here))
    assert not lock.abandoned(locked_by(process.pid, "another-machine"))
    assert not lock.abandoned("[409] Conflict: Another update is currently in progress.")


def test_data_of_a_namespace_that_was_not_named_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Begun(Exception):
        """Pulumi would run now."""

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        raise Begun
        yield

    engine = automation.AutomationEngine()
    monkeypatch.setattr(engine, "_stack", opened)
    monkeypatch.setattr(automation, "render", lambda *_, **__: Rendered("headroom", "one", "ml", ()))
    monkeypatch.setattr(other, "not_kubectl", lambda *_: None)
    target = Target(Kubectl(Path("kubectl"), Path("kubeconfig")), "a cluster")
    deployment = Deployment(Path("project"), "one", target)
    for wrong in ("ml2", "one", ""):
        with pytest.raises(InputError, match=f"--delete-data {wrong}: the data of stack one is in namespace ml"):
            engine.down(deployment, Silent(), delete_data=wrong)
    for right in ("ml", None):
        with pytest.raises(Begun):
            engine.down(deployment, Silent(), delete_data=right)
