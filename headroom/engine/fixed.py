"""Objects that must never change, held for the Pulumi engine before it starts.

The API server refuses to alter them, but the Pulumi CLI asks it only half-way through an update, and a preview does not
ask at all.
"""

from __future__ import annotations

from headroom.engine import live
from headroom.engine.preview import FIXED_BECAUSE
from headroom.engine.rendered import Rendered
from headroom.errors import InputError
from headroom.kubectl import Kubectl


def check(kubectl: Kubectl, rendered: Rendered) -> None:
    """Raises InputError, with the object's own reason, when what is fixed is on the cluster with other `data`."""
    reasons = {o.id: (o.manifest["metadata"].get("annotations") or {}).get(FIXED_BECAUSE) for o in rendered.objects}
    fixed = [o for o in rendered.objects if reasons[o.id]]
    found = live.read(kubectl, [o.id for o in fixed])
    changed = [o.id for o in fixed if o.id in found and found[o.id].get("data") != o.manifest.get("data")]
    if changed:
        raise InputError(
            "these cannot change; nothing was applied:\n  - " + "\n  - ".join(f"{i}: {reasons[i]}" for i in changed),
            fix="set them back, or delete the object yourself if it may go, and run it again",
        )
