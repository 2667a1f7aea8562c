"""What the program knows of its stack before it makes anything: the configuration, and the cluster that it goes to."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config
from pulumi_kubernetes import Provider

NO_CONTEXT = "none: choose a cluster with `pulumi config set kubernetes:context NAME`"


def configuration() -> dict[str, Any]:
    """Every key of the project in the stack's configuration, without its prefix, values as they stand in the stack file.

    `pulumi.Config` answers for one key at a time, so a misspelt key would go unseen.
    """
    prefix = f"{pulumi.get_project()}:"
    given = runtime_config.get_config_env() | runtime_config.CONFIG.get()
    return {key.removeprefix(prefix): _value(text) for key, text in sorted(given.items()) if key.startswith(prefix)}


def cluster() -> Provider:
    """The cluster that the stack names with `kubernetes:context` (and `kubernetes:kubeconfig`, a path or its content).

    Never whatever the current context happens to be: without a choice the provider is given a context that does not
    exist, and its error is the advice.
    """
    settings = pulumi.Config("kubernetes")
    context, kubeconfig = settings.get("context"), settings.get_secret("kubeconfig")
    return Provider(
        "cluster",
        context=context or (None if kubeconfig else NO_CONTEXT),
        kubeconfig=kubeconfig,
        enable_server_side_apply=True,
    )


def _value(text: Any) -> Any:
    """Structured values come as JSON; a quantity such as `2Gi` or a name is a string that is not."""
    if not isinstance(text, str) or text[:1] not in "{[":
        return text
    return json.loads(text)
