"""The engine of every environment that matters: the Pulumi CLI, driven through its Automation API.

State, diffs, replacement and order are Pulumi's. Importing this module does not import Pulumi.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headroom.engine import fixed, jobnews, live, lock, missing, needs, other, rollout, workspace
from headroom.engine.events import Listener
from headroom.engine.model import Change, Changes, Deployment, Result
from headroom.engine.preview import existing
from headroom.engine.record import retained
from headroom.engine.render import render
from headroom.engine.rendered import Rendered
from headroom.errors import EnvironmentFailure, InputError
from headroom.progress import Progress, step

if TYPE_CHECKING:
    from pulumi.automation import Stack

_GONE = 300.0  # seconds for namespaces with data to go


@dataclass(frozen=True)
class _Opened:
    """A stack in its workspace. `ours` says that nobody but us uses its backend."""

    stack: Stack
    work: workspace.Workspace
    ours: bool


class AutomationEngine:
    """`root` is where the CLI is installed (`<root>/bin/pulumi`), or None for the one on PATH."""

    name = "pulumi"

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    def preview(self, deployment: Deployment, progress: Progress) -> Changes:
        """What `up` would do."""
        rendered = _check(deployment)
        with self._stack(deployment, progress) as opened:
            _same_namespace(opened.stack, rendered)
            lost = missing.of(opened.stack, deployment.target.kubectl, rendered)
            return missing.told(
                _run(opened, "preview", f"previewing stack {deployment.stack}", progress).result(), lost
            )

    def up(self, deployment: Deployment, progress: Progress) -> Result:
        """Update the stack."""
        start = time.monotonic()
        rendered = _check(deployment)
        with self._stack(deployment, progress) as opened:
            _same_namespace(opened.stack, rendered)
            lost = missing.of(opened.stack, deployment.target.kubectl, rendered)
            if lost:
                names = sorted(str(identity) for identity in lost.values())
                title = f"taking note of what somebody deleted: {', '.join(names[:3])}{', …' if names[3:] else ''}"
                _run(opened, "refresh", title, progress, list(lost))
            with jobnews.told(deployment.target.kubectl, rendered, progress):
                heard = _run(opened, "up", f"updating stack {deployment.stack}", progress)
            outputs = {k: v.value for k, v in opened.stack.outputs().items() if not v.secret}
        kept, namespace = tuple(sorted(heard.kept)), rendered.namespace or "default"
        return Result(heard.result(), time.monotonic() - start, kept, outputs, namespace)

    def refresh(self, deployment: Deployment, progress: Progress) -> Changes:
        """Take the cluster's state into Pulumi's; what differs is drift."""
        with self._stack(deployment, progress) as opened:
            return _run(opened, "refresh", f"refreshing stack {deployment.stack}", progress).result()

    def down(self, deployment: Deployment, progress: Progress, *, delete_data: str | None = None) -> Result:
        """Destroy the stack's objects. What is `retain_on_delete` stays, unless `delete_data` names the namespace."""
        start = time.monotonic()
        rendered = render(
            deployment.project, deployment.stack, config_file=deployment.config_file, secrets=deployment.secrets or None
        )
        if delete_data is not None and delete_data != rendered.namespace:
            raise InputError(
                f"--delete-data {delete_data}: the data of stack {rendered.stack} is in namespace {rendered.namespace}",
                fix=f"--delete-data {rendered.namespace}, if you mean to delete it all",
            )
        other.not_kubectl(deployment.target.kubectl, rendered)
        with self._stack(deployment, progress) as opened:
            heard = _run(opened, "destroy", f"destroying stack {deployment.stack}", progress)
        changes, kept = heard.result(), tuple(sorted(heard.kept))
        if delete_data is not None:
            gone = _delete_data(deployment, rendered, progress)
            changes, kept = Changes((*changes.items, *gone), changes.warnings), ()
        return Result(changes, time.monotonic() - start, kept, namespace=rendered.namespace or "default")

    @contextmanager
    def _stack(self, deployment: Deployment, progress: Progress) -> Iterator[_Opened]:
        from pulumi import automation  # noqa: PLC0415  it imports Pulumi

        binary = str(self.root / "bin" / "pulumi") if self.root else "pulumi"
        kubeconfig = deployment.target.kubectl.kubeconfig
        if deployment.target.embedded and kubeconfig is not None:
            with step(progress, "preparing Pulumi's workspace for the embedded cluster"):
                work = workspace.embedded(deployment, kubeconfig.parent, binary)
            yield _Opened(self._select(automation, work, deployment), work, ours=True)
        else:
            with workspace.named(deployment) as work:
                yield _Opened(self._select(automation, work, deployment), work, ours=False)

    def _select(self, automation: Any, work: workspace.Workspace, deployment: Deployment) -> Stack:
        try:
            options = automation.LocalWorkspaceOptions(
                env_vars=dict(work.env),
                pulumi_command=automation.PulumiCommand(root=str(self.root) if self.root else None),
            )
            make = automation.create_or_select_stack if work.may_create else automation.select_stack
            stack: Stack = make(stack_name=deployment.stack, work_dir=str(work.folder), opts=options)
        except automation.StackNotFoundError as error:
            raise EnvironmentFailure(
                f"the Pulumi backend has no stack {deployment.stack}",
                fix=f"pulumi stack init {deployment.stack} (see `headroom backend init` for the backend and its key)",
            ) from error
        except (automation.CommandError, automation.InvalidVersionError) as error:
            raise _failure([], str(error)) from error
        return stack


def _check(deployment: Deployment) -> Rendered:
    """What can be known before Pulumi is asked: the program works, and the cluster serves what it needs."""
    rendered = render(
        deployment.project, deployment.stack, config_file=deployment.config_file, secrets=deployment.secrets or None
    )
    other.not_kubectl(deployment.target.kubectl, rendered)
    needs.check(deployment.target.kubectl, rendered)
    fixed.check(deployment.target.kubectl, rendered)
    return rendered


def _same_namespace(stack: Stack, rendered: Rendered) -> None:
    output = stack.outputs().get("namespace")
    if output is not None and rendered.namespace and output.value != rendered.namespace:
        raise InputError(
            f"stack {rendered.stack} lives in namespace {output.value}; its data would stay behind there",
            fix=f"keep `namespace: {output.value}`; or move its data and `headroom down` it first",
        )


def _run(
    opened: _Opened,
    operation: Literal["preview", "up", "refresh", "destroy"],
    title: str,
    progress: Progress,
    target: list[str] | None = None,
) -> Listener:
    from pulumi import automation  # noqa: PLC0415  it imports Pulumi

    for again in (False, True):
        heard = Listener(progress)
        try:
            with step(progress, title):
                getattr(opened.stack, operation)(
                    on_event=heard, color="never", config_file=str(opened.work.config_file), target=target
                )
        except automation.ConcurrentUpdateError as error:
            if again or not (opened.ours and lock.abandoned(str(error))):
                raise EnvironmentFailure(
                    f"another update of stack {opened.stack.name} is running",
                    fix=f"wait for it; if it is dead: {_cancel(opened)}",
                ) from error
            progress.note("a run that was killed left the stack locked; taking the lock off")
            opened.stack.cancel()
            continue
        except automation.CommandError as error:
            raise _failure(heard.errors, str(error), updating=operation == "up") from error
        break
    return heard


def _cancel(opened: _Opened) -> str:
    """The command that takes the lock off."""
    backend = opened.work.env.get(workspace.BACKEND)
    command = ["pulumi", "cancel", "--yes", "--stack", opened.stack.name, "--cwd", str(opened.work.folder)]
    return (f"{workspace.BACKEND}={shlex.quote(backend)} " if backend else "") + shlex.join(command)


def _failure(errors: list[str], said: str, *, updating: bool = False) -> EnvironmentFailure:
    """The engine's own errors when there are some, else the last lines of the CLI."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = "\n".join(dict.fromkeys(errors)) or "\n".join(lines[-8:])
    return EnvironmentFailure(f"pulumi failed: {text}", fix=_fix(f"{text}\n{said}", updating=updating))


def _fix(text: str, *, updating: bool = False) -> str:
    lowered = text.lower()
    if "resource plugin" in lowered or "could not find latest version" in lowered or "plugin install" in lowered:
        return "Pulumi's Kubernetes plugin is missing and cannot be fetched: pulumi plugin install resource kubernetes"
    if "passphrase" in lowered:
        return "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the stack's passphrase"
    if "minimum cli version" in lowered or "does not satisfy the version range" in lowered:
        return "bring the Pulumi CLI up to date"
    if "had an apply conflict" in lowered or "server-side apply field conflict" in lowered:
        return "somebody else set the fields named above: take their hands off them, or set them as they are there"
    if "the resource already exists in the cluster" in lowered:
        return "delete the object named above if it may go, or have Pulumi take it up: pulumi import"
    again = "correct what Pulumi says, then run the same command again: it goes on from there"
    return f"{again}; {rollout.BACK}" if updating else again


def _delete_data(deployment: Deployment, rendered: Rendered, progress: Progress) -> tuple[Change, ...]:
    kubectl = deployment.target.kubectl
    ids = [o.id for o in rendered.objects if retained(o.id, o.retain)]
    there = sorted(existing(kubectl, ids), key=lambda i: (i.kind == "Namespace", i))
    with step(progress, f"deleting {len(there)} namespaces and volume claims"):
        live.delete(kubectl, there)
        rollout.until_gone(kubectl, there, _GONE, progress)
    return tuple(Change("delete", i.kind, i.namespace, i.name) for i in there)
