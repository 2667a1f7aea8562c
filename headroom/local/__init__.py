"""The embedded cluster: a real Kubernetes control plane on this machine, with a real node or fake ones, in its own room."""

from headroom.local.cluster import down, find, up
from headroom.local.containers import images, import_image
from headroom.local.model import Cluster
from headroom.local.status import Status, status

__all__ = ["Cluster", "Status", "down", "find", "images", "import_image", "status", "up"]
