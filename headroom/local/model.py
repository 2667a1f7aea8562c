"""What callers hold of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Cluster:
    """A cluster that was up when this was made. `kubectl` is of its version and goes to it without any option."""

    name: str
    state: Path
    kubeconfig: Path
    kubectl: Path
    nodes: Literal["real", "fake"]
    context: str
    """The only context of `kubeconfig`."""
    server: str
    """The URL of the API server, as reached from this machine."""
    services: str = ""
    """With real nodes: the network of Service addresses, which this machine has a route to. Else empty."""
