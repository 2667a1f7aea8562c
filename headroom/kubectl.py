"""A small typed door to kubectl: one program, one kubeconfig or context, JSON out. Shared by engine and ops.

Nothing here falls back to the user's current context: a door is opened on a kubeconfig of ours or a context by name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom.errors import EnvironmentFailure

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """`binary` and where it points: `kubeconfig` (None: the user's) and `context` (None: that file's current)."""

    binary: Path
    kubeconfig: Path | None
    context: str | None = None

    def __post_init__(self) -> None:
        if self.kubeconfig is None and self.context is None:
            raise ValueError("a kubeconfig of ours or a context by name: never the user's current context")

    def run(
        self,
        *args: str,
        stdin: str | None = None,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `kubectl args…`. Raises EnvironmentFailure with kubectl's own words when it fails and `check` is set."""
        try:
            done = subprocess.run(
                self.command(*args),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                env={**os.environ, **(env or {})},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EnvironmentFailure(
                f"kubectl {args[0]} got no answer within {timeout:.0f} s",
                fix="check that the cluster is up: headroom local status, or kubectl cluster-info",
            ) from error
        if check and done.returncode != 0:
            raise EnvironmentFailure(
                f"kubectl {' '.join(args[:3])} failed: {done.stderr.strip() or done.stdout.strip()}",
                fix=_fix(done.stderr),
            )
        return done

    def get(self, *args: str, timeout: float = 60) -> Manifest:
        """`kubectl get args… -o json` as a dict."""
        answer: Manifest = json.loads(self.run("get", *args, "-o", "json", timeout=timeout).stdout)
        return answer

    def items(self, kind: str, namespace: str, selector: str = "") -> Sequence[Manifest]:
        """The objects of a kind in a namespace."""
        return tuple(self.get(kind, "-n", namespace, *(["-l", selector] if selector else []))["items"])

    def find(self, kind: str, name: str, namespace: str) -> Manifest | None:
        """One object, or None where there is none."""
        text = self.run("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found").stdout
        return json.loads(text) if text.strip() else None

    def raw(self, path: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        """GET a path of the API server. Never raises for an HTTP error: look at `returncode`."""
        return self.run("get", "--raw", path, timeout=timeout, check=False)

    def command(self, *args: str) -> list[str]:
        """The whole command line of `kubectl args…`, for whoever runs it in a way of their own."""
        return [str(self.binary), *self._flags(), *args]

    def _flags(self) -> list[str]:
        flags = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        return [*flags, "--context", self.context] if self.context else flags


def on_path() -> Path:
    """The user's own kubectl. Raises EnvironmentFailure when there is none."""
    found = shutil.which("kubectl")
    if not found:
        raise EnvironmentFailure(
            "kubectl is not on PATH", fix="install kubectl, or use the embedded cluster: headroom local up"
        )
    return Path(found)


def _fix(words: str) -> str:
    if "getting credentials" in words:
        return "log in again as your provider has it (its own program, named above, gave no credentials)"
    if any(word in words for word in ("connection refused", "no route to host", "i/o timeout", "Unable to connect")):
        return "the cluster does not answer: headroom local status, or check the context with kubectl cluster-info"
    if "context" in words and "does not exist" in words:
        return "list the contexts that there are: kubectl config get-contexts"
    if "error loading config file" in words:
        return "mend that file, or set KUBECONFIG to another"
    if "forbidden" in words.lower() or "unauthorized" in words.lower():
        return "ask for the rights named above, or use a context that has them"
    return ""
