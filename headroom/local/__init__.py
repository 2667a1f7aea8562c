"""The embedded cluster: a real Kubernetes control plane on this machine in its own room, its nodes real or fake."""

from headroom.local.cluster import down, find, up
from headroom.local.containers import import_image
from headroom.local.model import Cluster
from headroom.local.status import Status, status

# What images the node holds is containers.images: headroom.local.images is the package that builds them.
__all__ = ["Cluster", "Status", "down", "find", "import_image", "status", "up"]
