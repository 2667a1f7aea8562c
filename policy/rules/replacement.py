"""A StatefulSet is replaced only by somebody who named it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headroom.ops.diff import immutable
from policy.rules.model import Manifest, Violation, name, subject

NAME = "stateful-set-replacement"
DESCRIPTION = "No StatefulSet is replaced unless its name is in `allow`."


@dataclass(frozen=True)
class Known:
    """A StatefulSet as the engine knows it from the last deployment, and its `replaceOnChanges` option."""

    manifest: Manifest
    replace_on_changes: tuple[str, ...] = ()


def check(before: Sequence[Known], after: Sequence[Manifest], allow: Collection[str] = ()) -> Iterator[Violation]:
    """StatefulSets of `after` that differ from themselves in `before` in a field that cannot be changed in place.

    `allow` holds names (`h2o-cluster`).
    """
    known: Mapping[str, Known] = {subject(k.manifest): k for k in before if k.manifest.get("kind") == "StatefulSet"}
    for manifest in after:
        was = known.get(subject(manifest))
        if was is None or name(manifest) in allow:
            continue
        if fields := immutable.replacing(was.manifest, manifest, was.replace_on_changes):
            yield Violation(
                NAME,
                subject(manifest),
                f"would be deleted and made again, because {', '.join(fields)} changed. Undo that edit, or, if the "
                f"replacement is wanted, add {name(manifest)!r} to `{NAME}.allow` in the policy pack's configuration",
            )
