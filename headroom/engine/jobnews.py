"""What Jobs say of themselves while Pulumi waits for them: it has no words of its own for that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from headroom.engine import readiness
from headroom.engine.rendered import Rendered
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.progress import Progress

EVERY_S = 5.0


@contextlib.contextmanager
def told(kubectl: Kubectl, rendered: Rendered, progress: Progress) -> Iterator[None]:
    """Show it as detail for the length of the block. What cannot be asked is not told."""
    namespaces = sorted({o.id.namespace for o in rendered.objects if o.id.kind == "Job"})
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY_S):
            for namespace in namespaces:
                with contextlib.suppress(EnvironmentFailure):
                    _tell(kubectl, namespace, progress)

    thread = threading.Thread(target=look, daemon=True)
    if namespaces:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if namespaces:
            thread.join(EVERY_S)


def _tell(kubectl: Kubectl, namespace: str, progress: Progress) -> None:
    for job in kubectl.items("jobs", namespace):
        said = (job["metadata"].get("annotations") or {}).get(readiness.PROGRESS)
        if said and readiness.of(job).verdict == "waiting":
            progress.detail(f"job/{job['metadata']['name']}: {said}")
