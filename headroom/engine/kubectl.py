"""The engine that needs no Pulumi CLI: render, then server-side apply wave by wave, then prune.

For local clusters, or a cluster that the user names: it keeps no state but the stack record, and knows no rollback.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from headroom.engine import live, needs, other, readiness, record, rollout
from headroom.engine.model import Change, Changes, Deployment, Result
from headroom.engine.preview import Planned, existing, plan
from headroom.engine.quota import with_former_room
from headroom.engine.record import Entry, Record
from headroom.engine.render import render
from headroom.engine.rendered import ObjectId, Rendered, RenderedObject
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.progress import Progress, step

TIMEOUT = 600.0
"""Seconds that one wave may take to get ready, or to go."""

SECRETS_FIX = "install the Pulumi CLI, which can decrypt them, or give every part an `existingSecret`"


class KubectlEngine:
    """See the module. `timeout` is in seconds, for each wave."""

    name = "kubectl"

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout

    def preview(self, deployment: Deployment, progress: Progress) -> Changes:
        """What `up` would do, from a dry run on the server. Works before the namespace exists."""
        rendered, planned, _ = self._plan(deployment, progress)
        if not rendered.placeholders:
            return planned.changes
        warning = f"up will refuse: the values of some secrets are not known here; {SECRETS_FIX}"
        return replace(planned.changes, warnings=(*planned.changes.warnings, warning))

    def up(self, deployment: Deployment, progress: Progress) -> Result:
        """Apply what differs, wave by wave, each wave ready before the next; then prune.

        Raises InputError when a change is refused (nothing was applied), EnvironmentFailure with a diagnosis when a
        wave does not get ready. Stopped at any point, also by Ctrl-C, the same call goes on from there.
        """
        start = time.monotonic()
        kubectl = deployment.target.kubectl
        rendered, planned, before = self._plan(deployment, progress)
        _refuse(planned.changes)
        if rendered.placeholders:
            raise EnvironmentFailure(
                f"the values of these secrets are not known here: {', '.join(rendered.placeholders)}",
                fix=SECRETS_FIX,
            )
        after = record.of(rendered, _namespace(rendered))
        warnings = planned.changes.warnings
        if not planned.changes.empty:
            warnings += self._namespace_first(kubectl, rendered, planned, progress)
            during = replace(after, state="applying").joined(before.entries if before else ())
            if during != before:
                record.write(kubectl, during)
        waves = list(rendered.waves())
        for n, (_, objects) in enumerate(waves, 1):
            if _settled(objects, planned):
                continue
            title = f"wave {n} of {len(waves)}: {_summary(objects)}"
            with step(progress, title, done=f"{title}: ready"):
                warnings += self._wave(kubectl, rendered.stack, objects, planned, progress)
        # What an autoscaler has started since its Deployment was ready with one pod.
        scaled = [o.id for o in rendered.objects if o.id.kind == "Deployment"]
        if not planned.changes.empty and any(o.id.kind == "HorizontalPodAutoscaler" for o in rendered.objects):
            with step(progress, "the pods that autoscalers started", done="autoscaled pods ready"):
                rollout.until_ready(kubectl, scaled, self.timeout, progress)
        if planned.deletions:
            with step(progress, f"removing {len(planned.deletions)} objects that the stack has no more"):
                self._delete(kubectl, planned.deletions, progress)
        shrinking = [o for o in rendered.objects if with_former_room(o, planned.found.get(o.id)) is not o]
        warnings += _applied(kubectl, rendered.stack, shrinking) if shrinking else ()
        kept = _kept(kubectl, before, rendered)
        if after.joined(kept) != before:
            record.write(kubectl, after.joined(kept))
        changes = replace(planned.changes, warnings=tuple(dict.fromkeys(warnings)))
        shown = {k: v for k, v in rendered.exports.items() if k not in rendered.secret_exports}
        kept_names = tuple(str(e.id) for e in kept)
        return Result(changes, time.monotonic() - start, kept_names, shown, _namespace(rendered))

    def down(self, deployment: Deployment, progress: Progress, *, delete_data: str | None = None) -> Result:
        """Delete the stack, last wave first. Namespaces and claims stay, unless `delete_data` names the namespace."""
        start = time.monotonic()
        kubectl = deployment.target.kubectl
        entries, found, namespace = self._belongings(deployment)
        if delete_data is not None and delete_data != namespace:
            raise InputError(
                f"--delete-data {delete_data}: the data of stack {deployment.stack} is in namespace {namespace}",
                fix=f"--delete-data {namespace}, if you mean to delete it all",
            )
        there = existing(kubectl, [e.id for e in entries])
        mine = [e for e in entries if e.id in there and live.ours(there[e.id], deployment.stack)]
        protected = [str(e.id) for e in mine if e.protect and not e.retain]
        if protected:
            raise InputError(f"protected from deletion: {', '.join(protected)}", fix="take `protect` off them first")
        going, kept = [e for e in mine if not e.retain], [e for e in mine if e.retain]
        if delete_data is not None:
            going, kept = going + kept, []
        waves = sorted({e.wave for e in going}, reverse=True)
        for n, wave in enumerate(waves, 1):
            ids = sorted((e.id for e in going if e.wave == wave), key=lambda i: (i.kind == "Namespace", i))
            title = f"wave {n} of {len(waves)}: deleting {len(ids)} objects"
            with step(progress, title, done=f"wave {n} of {len(waves)}: {len(ids)} objects deleted"):
                self._delete(kubectl, ids, progress)
        for r in found:
            record.remove(kubectl, r)
        gone = tuple(Change("delete", e.id.kind, e.id.namespace, e.id.name) for e in going)
        kept_names = tuple(str(e.id) for e in kept)
        return Result(Changes(gone), time.monotonic() - start, kept_names, namespace=namespace)

    def _plan(self, deployment: Deployment, progress: Progress) -> tuple[Rendered, Planned, Record | None]:
        kubectl = deployment.target.kubectl
        with step(progress, f"comparing stack {deployment.stack} with {deployment.target.title}"):
            rendered = _render(deployment)
            needs.check(kubectl, rendered)
            before = _check_owner(kubectl, rendered)
            if before is None:
                other.not_pulumi(kubectl, rendered)
            planned = plan(kubectl, rendered, before)
        return rendered, planned, before

    def _namespace_first(
        self, kubectl: Kubectl, rendered: Rendered, planned: Planned, progress: Progress
    ) -> tuple[str, ...]:
        """The record lives in the stack's namespace, and is written before the first wave."""
        identity = ObjectId("v1", "Namespace", "", _namespace(rendered))
        found = planned.found.get(identity)
        if found and not found["metadata"].get("deletionTimestamp"):
            return ()
        if found:
            with step(progress, f"waiting for the former {identity} to go"):
                rollout.until_gone(kubectl, [identity], self.timeout, progress)
        return _applied(kubectl, rendered.stack, [o for o in rendered.objects if o.id == identity])

    def _wave(
        self, kubectl: Kubectl, stack: str, objects: Sequence[RenderedObject], planned: Planned, progress: Progress
    ) -> tuple[str, ...]:
        replaced = [o.id for o in objects if planned.actions[o.id] == "replace"]
        if replaced:
            progress.detail(f"replacing {', '.join(str(i) for i in replaced)}")
            self._delete(kubectl, replaced, progress)
        changed = [o for o in objects if planned.actions[o.id] != "unchanged"]
        warnings = _applied(kubectl, stack, [with_former_room(o, planned.found.get(o.id)) for o in changed])
        untouched = {o.id: planned.found[o.id] for o in objects if planned.actions[o.id] == "unchanged"}
        rollout.until_ready(kubectl, [o.id for o in objects], self.timeout, progress, known=untouched)
        return warnings

    def _delete(self, kubectl: Kubectl, ids: Sequence[ObjectId], progress: Progress) -> None:
        workloads = [i for i in ids if i.kind in other.WORKLOADS]
        rest = [i for i in ids if i.kind not in other.WORKLOADS]
        for some in (workloads, rest):
            if some:
                live.delete(kubectl, some, foreground=some is workloads)
                rollout.until_gone(kubectl, some, self.timeout, progress)

    def _belongings(self, deployment: Deployment) -> tuple[tuple[Entry, ...], tuple[Record, ...], str]:
        """What is to be deleted: what the record says, and what the program says beside it (after a `down` there is no
        record, but there may be data). A program that cannot be rendered any more does not hinder it."""
        records = record.find(deployment.target.kubectl, deployment.stack)
        found = tuple(r for r in records if r.stack == deployment.stack)
        try:
            rendered = _render(deployment)
        except InputError:
            if not found:
                raise
            return tuple(e for r in found for e in r.entries), found, found[0].namespace
        if not found:
            other.not_pulumi(deployment.target.kubectl, rendered)
        namespace = found[0].namespace if found else _namespace(rendered)
        own = record.of(rendered, namespace)
        for r in found:
            own = r.joined(own.entries) if r.namespace == _namespace(rendered) else r
        return own.entries, found, namespace


def _render(deployment: Deployment) -> Rendered:
    return render(
        deployment.project, deployment.stack, config_file=deployment.config_file, secrets=deployment.secrets or None
    )


def _namespace(rendered: Rendered) -> str:
    return rendered.namespace or "default"


def _check_owner(kubectl: Kubectl, rendered: Rendered) -> Record | None:
    """The stack's record. Raises InputError when the stack lives in another namespace, or another stack in this one."""
    namespace = _namespace(rendered)
    records = record.find(kubectl, rendered.stack, namespace)
    elsewhere = [r.namespace for r in records if r.stack == rendered.stack and r.namespace != namespace]
    if elsewhere:
        raise InputError(
            f"stack {rendered.stack} lives in namespace {elsewhere[0]}; its data would stay behind there",
            fix=f"keep `namespace: {elsewhere[0]}`; or move its data and `headroom down` it first",
        )
    here = next((r for r in records if r.namespace == namespace), None)
    if here and here.stack != rendered.stack:
        raise InputError(
            f"namespace {namespace} belongs to stack {here.stack}",
            fix=f"give stack {rendered.stack} a namespace of its own, or `headroom down --stack {here.stack}` first",
        )
    return here


def _refuse(changes: Changes) -> None:
    refused = changes.of("refused")
    if refused:
        lines = [f"{c.kind} {c.namespace + '/' if c.namespace else ''}{c.name}: {c.reason}" for c in refused]
        raise InputError(
            "the API server refuses these; nothing was applied:\n  - " + "\n  - ".join(lines[:10]),
            fix="set them back, or delete the object yourself if it may go, and run it again",
        )


def _applied(kubectl: Kubectl, stack: str, objects: Sequence[RenderedObject]) -> tuple[str, ...]:
    try:
        return live.apply(kubectl, [live.marked(o.manifest, stack) for o in objects]).warnings
    except live.Rejected as error:
        raise EnvironmentFailure(str(error), fix=rollout.AGAIN) from error


def _settled(objects: Sequence[RenderedObject], planned: Planned) -> bool:
    """Whether a wave is as it should be already."""
    return all(
        planned.actions[o.id] == "unchanged" and readiness.of(planned.found[o.id]) == readiness.READY for o in objects
    )


def _kept(kubectl: Kubectl, before: Record | None, rendered: Rendered) -> list[Entry]:
    """What holds data and is in the program no more: it stays, and stays known."""
    wanted = {o.id for o in rendered.objects}
    old = [e for e in (before.entries if before else ()) if e.retain and e.id not in wanted]
    there = existing(kubectl, [e.id for e in old]) if old else {}
    return [e for e in old if e.id in there]


def _summary(objects: Sequence[RenderedObject]) -> str:
    kinds = [o.id.kind for o in objects]
    counts = [f"{kinds.count(k)} {k}" for k in sorted(set(kinds), key=lambda k: (-kinds.count(k), k))]
    return ", ".join(counts[:3]) + (", …" if len(counts) > 3 else "")
