"""What a pod's program is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REST_PORT = 54321
"""H2O's API; nodes talk to each other on the next one."""
LEADER_PORT = 8080
"""Where H2O itself says whether it leads, when it found its peers by DNS."""
GUARD_PORT = 8090


@dataclass(frozen=True)
class Settings:
    """`nodes` is the expected size of the cloud; `run` the folder that the guard shares with its node."""

    pod: str
    address: str
    namespace: str
    workload: str
    headless: str
    nodes: int
    run: Path
    login: Path

    @staticmethod
    def read() -> Settings:
        """From the variables that the pod template sets. Raises KeyError for one that is missing."""
        env = os.environ
        return Settings(
            pod=env["POD_NAME"],
            address=env["POD_IP"],
            namespace=env["POD_NAMESPACE"],
            workload=env["H2O_WORKLOAD"],
            headless=env["H2O_HEADLESS"],
            nodes=int(env["H2O_NODE_EXPECTED_COUNT"]),
            run=Path(env.get("H2O_RUN", "/run/h2o")),
            login=Path(env.get("H2O_LOGIN", "/etc/h2o/login")),
        )

    @property
    def peers(self) -> dict[str, str]:
        """The other nodes' pods and the names that they are reached by."""
        names = (f"{self.workload}-{n}" for n in range(self.nodes))
        return {name: f"{name}.{self.headless}" for name in names if name != self.pod}

    @property
    def belongs(self) -> bool:
        """Whether this pod is one of the expected; a set scaled by hand has more."""
        return self.pod in {f"{self.workload}-{n}" for n in range(self.nodes)}


def password(login: Path) -> str:
    """The password of user `h2o`. Raises OSError."""
    return (login / "h2oUi").read_text(encoding="utf-8").strip()
