"""What must never change on a live object, told before anything is applied.

The API server refuses most of it, but the Pulumi CLI asks it only half-way through an update, and a preview does not
ask at all. What it would take and the data would not, the program marks.
"""

from __future__ import annotations

from headroom.capacity.quantities import octets
from headroom.engine import live
from headroom.engine.rendered import Manifest, Rendered
from headroom.errors import InputError
from headroom.kubectl import Kubectl

FIXED_BECAUSE = "headroom.dev/fixed-because"
"""On an object that must not change (its `data`, and what FIXED says): why, in place of the API server's words."""
FIXED = "headroom.dev/fixed"
"""Beside it: what the object is for good. An object that says nothing yet may be told."""
FIX = "set them back, or delete the object yourself if it may go, and run it again"


def check(kubectl: Kubectl, rendered: Rendered) -> None:
    """Raises InputError, with the reasons, when what is fixed is on the cluster and would be another."""
    wanted = {o.id: o.manifest for o in rendered.objects if _is_fixed(o.manifest)}
    found = live.read(kubectl, list(wanted))
    refused = [(i, why) for i, manifest in wanted.items() if i in found and (why := reason(manifest, found[i]))]
    if refused:
        raise InputError(
            "these cannot change; nothing was applied:\n  - " + "\n  - ".join(f"{i}: {why}" for i, why in refused),
            fix=FIX,
        )


def reason(wanted: Manifest, found: Manifest) -> str:
    """Why a live object cannot become what is wanted; empty if nothing here speaks against it."""
    why = _notes(wanted).get(FIXED_BECAUSE)
    was, now = _notes(found).get(FIXED), _notes(wanted).get(FIXED)
    if why and (wanted.get("data") != found.get("data") or (was is not None and was != now)):
        return str(why)
    return _claim(wanted["spec"], found["spec"]) if wanted["kind"] == "PersistentVolumeClaim" else ""


def _claim(wanted: Manifest, found: Manifest) -> str:
    was, now = found.get("storageClassName"), wanted.get("storageClassName")
    if was and now and was != now:
        return f"its volume is of storage class {was}, and cannot become {now}"
    modes = found.get("accessModes"), wanted.get("accessModes")
    if modes[0] != modes[1]:
        return f"its access modes are {modes[0]}, and cannot become {modes[1]}"
    had, asked = _storage(found), _storage(wanted)
    try:
        shrinks = octets(asked) < octets(had)
    except ValueError:  # a quantity that we do not write: the API server judges it
        return ""
    return f"its volume has {had}, and volumes cannot shrink (to {asked})" if shrinks else ""


def _is_fixed(manifest: Manifest) -> bool:
    return manifest["kind"] == "PersistentVolumeClaim" or FIXED_BECAUSE in _notes(manifest)


def _notes(manifest: Manifest) -> Manifest:
    return manifest["metadata"].get("annotations") or {}


def _storage(spec: Manifest) -> object:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")
