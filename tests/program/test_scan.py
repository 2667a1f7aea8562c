"""What checkov finds in the rendered stacks: nothing, but for what is waived here with its reason.

It needs libraries of other versions than ours, hence an environment of its own: `make scan-setup`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from headroom.engine.render import write
from headroom.engine.rendered import Rendered

CHECKOV = Path(__file__).resolve().parents[2] / ".venv-scan" / "bin" / "checkov"

# By check; or by check, kind and name, in whatever namespace.
WAIVED: dict[str | tuple[str, str, str], str] = {
    "CKV_K8S_43": "images carry version tags; whoever wants digests writes them into the stack file",
    "CKV_K8S_15": "a version tag never moves, and IfNotPresent keeps pods starting while the registry is away",
    "CKV_K8S_38": "tokens are mounted where a Role is bound and nowhere else, which test_every_stack.py holds",
    "CKV_K8S_35": "the services' programs read their one password from the environment, as their libraries do",
    "CKV_K8S_40": "the stores' programs look themselves up in /etc/passwd, where their distribution's users are low",
}


def scan(folder: Path) -> dict[tuple[str, str, str, str], str]:
    """What checkov finds in a folder: `(check, kind, namespace, name)` to the check's words. It calls nobody."""
    options = ["--framework", "kubernetes", "--output", "json", "--compact", "--skip-download", "--soft-fail"]
    done = subprocess.run([CHECKOV, "--directory", folder, *options], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100, "it looked at something"
    found = report["results"]["failed_checks"]
    return {(f["check_id"], *f["resource"].split(".", 2)): f["check_name"] for f in found}


@pytest.mark.skipif(not CHECKOV.exists(), reason="no .venv-scan: run `make scan-setup`")
def test_nothing_is_found_that_is_not_waived(rendered: Callable[[str], Rendered], tmp_path: Path) -> None:
    for stack in ("local", "dev", "staging", "prod"):
        write(rendered(stack), tmp_path / stack)
    found = scan(tmp_path)
    waived = {f for f in found if f[0] in WAIVED or (f[0], f[1], f[3]) in WAIVED}
    assert {f: words for f, words in found.items() if f not in waived} == {}
    needed = {f[0] for f in waived} | {(f[0], f[1], f[3]) for f in waived}
    assert WAIVED.keys() - needed == set(), "a waiver that nothing needs any more goes"
