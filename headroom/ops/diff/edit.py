"""What an edit does to a stack that is deployed: the stack file that went to the cluster last, and the one at hand."""

from __future__ import annotations

import tempfile
from pathlib import Path

from headroom.ops.diff import cluster, probe, revision
from headroom.ops.diff.compare import compare
from headroom.ops.diff.model import StackDiff


def of_file(root: Path, stack: str, deployed: str, file: Path) -> StackDiff:
    """Compare the text `deployed` with `file`, both planned and rendered by the code of the project in `root`.

    What changed in that code since does not show: that is between two revisions. A text that this code cannot plan is a
    problem in the answer.
    """
    with tempfile.TemporaryDirectory(prefix="headroom-edit-") as place:
        was = Path(place) / file.name
        was.write_text(deployed, encoding="utf-8")
        before, after = (
            cluster.marked(revision.state(stack, probe.read(root, stack, one)), one) for one in (was, file)
        )
    return compare(before, after)
