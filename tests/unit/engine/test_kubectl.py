"""What the kubectl engine never does: delete what is somebody else's or whose namespace was not named, apply passwords
that nobody gave. Seen from the API server, which here is a table of objects."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.engine import live, record
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Deployment, Target
from headroom.engine.record import Entry, Record
from headroom.engine.rendered import ObjectId
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.progress import Silent

MINE, KEPT = ObjectId("v1", "ConfigMap", "ml", "mine"), ObjectId("v1", "PersistentVolumeClaim", "ml", "data")
ROOM = ObjectId("v1", "Namespace", "", "ml")
PROGRAM = """
import pulumi
import pulumi_kubernetes as k8s

secrets = pulumi.Config().get_secret("secrets")
k8s.core.v1.ConfigMap("mine", metadata={"name": "mine", "namespace": "ml"}, data={"a": "1"})
if secrets is not None:
    k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": "ml"}, string_data={"password": secrets})
"""


class Server(Kubectl):
    """Keeps what is applied. `touched` are the objects of every call that changed something."""

    there: dict[ObjectId, dict[str, Any]]
    touched: list[tuple[str, ObjectId]]

    def run(self, *args: str, stdin: str | None = None, **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(args, 0, json.dumps(self.answer(args, json.loads(stdin or "{}"))), "")

    def answer(self, args: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
        if args[:2] == ("get", "--raw"):
            return {
                "resources": [{"name": "x", "kind": i.kind} for i in (MINE, KEPT, ROOM)]
                + [{"name": "s", "kind": "Secret"}]
            }
        if args[:2] == ("get", "configmaps"):
            found = [o for i, o in self.there.items() if i.name == record.NAME]
            return {"kind": "List", "items": found}
        ids = {ObjectId.of(o): o for o in given["items"]}
        assert args[0] in ("get", "apply", "delete")
        if args[0] == "get":
            return {"kind": "List", "items": [self.there[i] for i in ids if i in self.there]}
        if "--dry-run=server" not in args:
            self.touched.extend((args[0], i) for i in ids)
            for i in ids:
                self.there.pop(i, None)
            self.there.update(ids if args[0] == "apply" else {})
        return {"kind": "List", "items": list(ids.values())}

    def deleted(self) -> set[ObjectId]:
        return {i for what, i in self.touched if what == "delete" and i.name != record.NAME}


@pytest.fixture
def server() -> Server:
    """With a stack `test` in the namespace `ml`, which has a claim."""
    made = Server(Path("kubectl"), Path("kubeconfig"))
    object.__setattr__(made, "there", {i: live.marked(i.stub(), "test") for i in (MINE, KEPT, ROOM)})
    object.__setattr__(made, "touched", [])
    remembered(made, MINE, KEPT, ROOM)
    return made


@pytest.fixture
def deployed(server: Server, tmp_path: Path) -> Callable[..., Deployment]:
    """`deployed(more of the stack file's config, secrets…)`."""

    def of(more: str = "", **secrets: str) -> Deployment:
        (tmp_path / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
        (tmp_path / "Pulumi.test.yaml").write_text(f"config: {{'headroom:namespace': ml, {more}}}\n")
        (tmp_path / "__main__.py").write_text(PROGRAM)
        return Deployment(tmp_path, "test", Target(server, "a table"), secrets=secrets)

    return of


def remembered(server: Server, *ids: ObjectId) -> None:
    """The stack's record names these."""
    entries = tuple(Entry(i, 0, record.retained(i, False), False) for i in ids)
    manifest = Record("test", "ml", entries, state="ready").manifest()
    server.there[ObjectId.of(manifest)] = manifest


def somebody_elses(server: Server, *owner: str) -> ObjectId:
    """A ConfigMap under a name that the stack's record has, made by another stack or by hand."""
    theirs = ObjectId("v1", "ConfigMap", "ml", "theirs")
    server.there[theirs] = live.marked(theirs.stub(), *owner) if owner else theirs.stub()
    remembered(server, MINE, KEPT, ROOM, theirs)
    return theirs


@pytest.mark.parametrize("named", ["ml2", "ML", "test", ""])
def test_data_of_a_namespace_that_was_not_named_is_not_deleted(
    server: Server, deployed: Callable[..., Deployment], named: str
) -> None:
    with pytest.raises(InputError, match=f"--delete-data {named}: the data of stack test is in namespace ml"):
        KubectlEngine().down(deployed(), Silent(), delete_data=named)
    assert server.touched == []


def test_data_goes_with_the_stack_only_where_its_namespace_is_named(
    server: Server, deployed: Callable[..., Deployment]
) -> None:
    assert set(KubectlEngine().down(deployed(), Silent()).kept) == {str(KEPT), str(ROOM)}
    assert server.deleted() == {MINE}
    remembered(server, MINE, KEPT, ROOM)
    KubectlEngine().down(deployed(), Silent(), delete_data="ml")
    assert server.deleted() == {MINE, KEPT, ROOM}


@pytest.mark.parametrize("owner", [(), ("another",)], ids=["by hand", "of another stack"])
def test_what_somebody_else_made_under_a_name_of_the_stack_stays(
    server: Server, deployed: Callable[..., Deployment], owner: tuple[str, ...]
) -> None:
    theirs = somebody_elses(server, *owner)
    changes = KubectlEngine().up(deployed(), Silent()).changes
    assert changes.of("delete") == ()
    assert server.deleted() == set()
    somebody_elses(server, *owner)
    KubectlEngine().down(deployed(), Silent(), delete_data="ml")
    assert server.deleted() == {MINE, KEPT, ROOM}
    assert theirs in server.there


def test_what_the_stack_made_and_has_no_more_goes(server: Server, deployed: Callable[..., Deployment]) -> None:
    mine = somebody_elses(server, "test")
    assert [c.name for c in KubectlEngine().up(deployed(), Silent()).changes.of("delete")] == [mine.name]
    assert server.deleted() == {mine}


def test_passwords_that_are_not_known_are_not_applied(server: Server, deployed: Callable[..., Deployment]) -> None:
    encrypted = "'headroom:secrets': {'secure': 'v1:abc'}"
    (warning,) = KubectlEngine().preview(deployed(encrypted), Silent()).warnings
    assert "up will refuse" in warning
    with pytest.raises(EnvironmentFailure, match="not known here: headroom:secrets"):
        KubectlEngine().up(deployed(encrypted), Silent())
    assert server.touched == []
    KubectlEngine().up(deployed(encrypted, **{"headroom:secrets": "given"}), Silent())
    assert ("apply", ObjectId("v1", "Secret", "ml", "s")) in server.touched
