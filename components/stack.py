"""What the program knows of its stack before it makes anything: the configuration, and the cluster that it goes to."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config
from pulumi_kubernetes import Provider

from headroom.backend.secrets import CONFIG_KEY
from headroom.capacity.demand import encrypted
from headroom.capacity.demand.problem import PREFIX

NO_CONTEXT = "none: choose a cluster with `pulumi config set kubernetes:context NAME`"


def configuration() -> dict[str, Any]:
    """Every key of the stack's configuration with its prefix; structured values are JSON text.

    `pulumi.Config` answers for one key at a time, so a misspelt key would go unseen. Values are plain here, so the mark
    of an encrypted one would be lost: only the passwords may be encrypted, and they must be. Raises InputError.
    """
    found = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    marked = {key for key in found if key.startswith(PREFIX) and runtime_config.is_config_secret(key)}
    stack = pulumi.get_stack()
    clear = {CONFIG_KEY} - marked if found.get(CONFIG_KEY, "{}") != "{}" else ()
    encrypted.check(stack, f"stack {stack}", encrypted=marked - {CONFIG_KEY}, clear=clear)
    return found


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
        # What `down` keeps for its data (namespace, claims, what is recorded beside them) is taken up by the next `up`.
        upsert_existing_objects=True,
        # A changed setting or password reaches running pods through the object that they mount; those that must roll
        # their pods are immutable and named by their content.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
    )
