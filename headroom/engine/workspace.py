"""Where the Pulumi CLI runs: a project folder, a stack file with the cluster in it, and an environment.

A named cluster uses the project itself, with a copy of the stack file that adds the context. The embedded cluster gets
a workspace of its own beside its state, so that nothing of it (backend, passphrase, encrypted passwords) ever touches
the project's files.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets as random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom import stackfile
from headroom.backend.pulumi_cli import PulumiCli
from headroom.engine import stackconfig
from headroom.engine.model import Deployment
from headroom.project import stack_file

BACKEND, PASSPHRASE = "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"
CLUSTER = frozenset({"kubernetes:kubeconfig", "kubernetes:context"})
"""What of a stack file chooses a cluster: the one that the caller names takes its place."""


@dataclass(frozen=True)
class Workspace:
    """`folder` holds Pulumi.yaml; `config_file` is the stack file to use; `env` is added to the environment.
    `may_create` says whether the stack may be made when the backend has none of its name."""

    folder: Path
    config_file: Path
    env: Mapping[str, str]
    may_create: bool


@contextmanager
def named(deployment: Deployment) -> Iterator[Workspace]:
    """For a cluster that the user names: the project, its backend, its stack. The stack must exist: making one means
    choosing who can decrypt its secrets."""
    with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
        file = Path(folder) / f"Pulumi.{deployment.stack}.yaml"
        _copy(_source(deployment), file, _cluster_config(deployment))
        yield Workspace(deployment.project.resolve(), file, {"PULUMI_SKIP_UPDATE_CHECK": "true"}, may_create=False)


def embedded(deployment: Deployment, state: Path, cli: str) -> Workspace:
    """For the embedded cluster with the state folder `state`: a workspace in it, made or brought up to date.

    The backend is a folder and the passphrase a file there, unless PULUMI_BACKEND_URL or PULUMI_CONFIG_PASSPHRASE say
    otherwise. Passwords go to `pulumi config set --secret` through stdin, and only when they changed.
    """
    root = state / "pulumi"
    folder = root / deployment.stack
    for private in (root, folder, root / "backend"):
        private.mkdir(parents=True, exist_ok=True, mode=0o700)
    project = deployment.project.resolve()
    _link(folder / "program", project)
    description = {
        "name": stackconfig.project_name(project),
        "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
        "main": "program",
    }
    (folder / "Pulumi.yaml").write_text(json.dumps(description, indent=1))
    env = {"PULUMI_SKIP_UPDATE_CHECK": "true"}
    if not os.environ.get(BACKEND):
        env[BACKEND] = f"file://{root / 'backend'}"
    if not os.environ.get(PASSPHRASE) and not os.environ.get(f"{PASSPHRASE}_FILE"):
        env[f"{PASSPHRASE}_FILE"] = str(_passphrase(root / "passphrase"))
    file = folder / f"Pulumi.{deployment.stack}.yaml"
    kept = _kept(file, deployment.secrets)
    _copy(_source(deployment), file, {**_cluster_config(deployment), **kept.config}, kept.header)
    work = Workspace(folder, file, env, may_create=True)
    _ensure_stack(PulumiCli(cli, folder, env=env), deployment, file)
    return work


@dataclass(frozen=True)
class _Kept:
    """What of the workspace's former stack file is still good: who can decrypt it, and the encrypted passwords."""

    header: Mapping[str, Any]
    config: Mapping[str, Any]


def _kept(file: Path, secrets: Mapping[str, Any]) -> _Kept:
    if not file.exists():
        return _Kept({}, {})
    old = stackfile.document(file)
    header = {k: v for k, v in old.items() if k in ("encryptionsalt", "encryptedkey", "secretsprovider")}
    config = old.get("config") or {}
    same = _fingerprint_file(file).exists() and _fingerprint_file(file).read_text() == _fingerprint(file, secrets)
    return _Kept(header, {k: config[k] for k in secrets if k in config} if same else {})


def _ensure_stack(cli: PulumiCli, deployment: Deployment, file: Path) -> None:
    if deployment.stack not in {s["name"].rpartition("/")[2] for s in cli.json("stack", "ls", "--json")}:
        cli.run("stack", "init", deployment.stack)
    if _fingerprint_file(file).exists() and _fingerprint_file(file).read_text() == _fingerprint(
        file, deployment.secrets
    ):
        return
    for key, value in deployment.secrets.items():
        for path, leaf in stackconfig.leaves(key, value):
            cli.run("config", "set", "--stack", deployment.stack, "--secret", "--path", path, stdin=str(leaf))
    _private(_fingerprint_file(file), _fingerprint(file, deployment.secrets))


def _fingerprint(file: Path, secrets: Mapping[str, Any]) -> str:
    """Tells whether the secrets changed, and nothing else: it is keyed by a value beside it."""
    key = _passphrase(file.parent.parent / "fingerprint-key").read_bytes()
    return hmac.new(key, json.dumps(dict(secrets), sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _fingerprint_file(file: Path) -> Path:
    return file.with_suffix(".secrets-seen")


def _passphrase(file: Path) -> Path:
    if not file.exists():
        _private(file, random.token_urlsafe(32))
    return file


def _private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text)


def _link(link: Path, to: Path) -> None:
    if link.is_symlink() and link.readlink() == to:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(to, target_is_directory=True)


def _source(deployment: Deployment) -> Path:
    return deployment.config_file or stack_file(deployment.stack, deployment.project)


def _copy(source: Path, to: Path, config: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> None:
    document = stackfile.document(source)
    # Not half of it either: our context in a kubeconfig of the file's could be another cluster.
    own = {key: value for key, value in (document.get("config") or {}).items() if key not in CLUSTER}
    document = {**(header or {}), **document, "config": {**own, **config}}
    _private(to, json.dumps(document, indent=1, default=str))  # JSON is YAML


def _cluster_config(deployment: Deployment) -> dict[str, str]:
    kubectl = deployment.target.kubectl
    config = {"kubernetes:kubeconfig": str(kubectl.kubeconfig)} if kubectl.kubeconfig else {}
    return config | ({"kubernetes:context": kubectl.context} if kubectl.context else {})
