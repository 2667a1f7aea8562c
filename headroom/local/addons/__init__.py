"""What a cluster has beyond a cluster, for those who ask: monitoring, KEDA, the custom metrics API.

`install` puts the real programs on real nodes, as pods. On fake nodes no software runs: there
`keda.install_definitions` has KEDA's objects admitted, and `custom_metrics.install_posted` serves posted values.
"""

from headroom.local.addons.install import Addon, install

__all__ = ["Addon", "install"]
