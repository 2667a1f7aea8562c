"""The Pulumi CLI as a program: arguments in, secrets only through stdin, answers from stdout.

Not the Automation API of pulumi 3.272: `LocalWorkspace.set_config` puts a secret's value on the command line, where
every user of the machine can read it, and `import_stack` writes the state to a temporary file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headroom.errors import EnvironmentFailure

_MINUTES = 10


@dataclass(frozen=True)
class PulumiCli:
    """`binary`, run in the project folder `cwd`; `backend` is a URL, or None for where the user is logged in."""

    binary: str
    cwd: Path
    backend: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, *args: str, stdin: str = "") -> str:
        """Standard output of `pulumi args…`. `args` must hold no secret.

        Raises EnvironmentFailure with Pulumi's own words when it fails.
        """
        env = {**os.environ, **self.env, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        if self.backend is not None:
            env["PULUMI_BACKEND_URL"] = self.backend
        try:
            done = subprocess.run(
                [self.binary, *args, "--non-interactive", "--color", "never"],
                cwd=self.cwd,
                env=env,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=_MINUTES * 60,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EnvironmentFailure(
                f"pulumi {' '.join(args[:2])} gave no answer in {_MINUTES} minutes",
                fix="check the network and that nobody holds the stack's lock (pulumi cancel), then run it again",
            ) from error
        if done.returncode != 0:
            said = done.stderr.strip() or f"exit code {done.returncode}"
            raise EnvironmentFailure(f"pulumi {' '.join(args[:2])} failed: {said}", fix=_fix(said))
        return done.stdout

    def json(self, *args: str) -> Any:
        """The same, parsed."""
        return json.loads(self.run(*args))


def find(cwd: Path, backend: str | None = None) -> PulumiCli:
    """The Pulumi CLI on PATH. Raises EnvironmentFailure when there is none."""
    binary = shutil.which("pulumi")
    if binary is None:
        raise EnvironmentFailure(
            "the Pulumi CLI is not on PATH: only it can read and write a stack's state and config secrets",
            fix="install it (https://www.pulumi.com/docs/iac/download-install/), then run the same command again",
        )
    return PulumiCli(binary, cwd, backend)


def _fix(said: str) -> str:
    if "PASSPHRASE" in said or "passphrase" in said:
        return "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the stack's passphrase"
    if "no stack named" in said:
        return "pulumi stack init STACK --secrets-provider URL; `headroom backend init` prints the URL"
    if "locked" in said:
        return "wait for the other update, or `pulumi cancel` if it is dead"
    if "AccessDenied" in said or "not authorized" in said or "StatusCode: 403" in said:
        return "attach the policy that `headroom backend policy --for person` prints"
    return "what Pulumi says above; then run the same command again"
