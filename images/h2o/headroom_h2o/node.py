"""What this pod's H2O process says of itself and of its cloud."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from headroom_h2o.settings import LEADER_PORT, REST_PORT

USER = "h2o"
# Without ticks it is cheap, and unlike most paths it neither locks the cloud nor fills H2O's log.
CLOUD = "/3/Cloud?skip_ticks=true"


@dataclass(frozen=True)
class View:
    """`whole`: in a healthy cloud of the expected size. `silent`: too slow to answer, or it does not listen yet."""

    state: Literal["gone", "silent", "forming", "whole", "broken"]
    leads: bool = False
    cloud: Mapping[str, Any] | None = None
    """What H2O tells of the whole cloud, where this node may say it."""


def authorization(password: str) -> dict[str, str]:
    """The header that logs in."""
    return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()}


def look(password: str, nodes: int, host: str = "127.0.0.1", rest: int = REST_PORT, lead: int = LEADER_PORT) -> View:
    """Ask the process. Found by DNS, nodes that do not lead refuse the API and only say on another port that they do
    not lead."""
    try:
        status, body = _get(host, rest, CLOUD, authorization(password))
        if status == HTTPStatus.FORBIDDEN:
            status, _ = _get(host, lead, "/kubernetes/isLeaderNode", {})
            return View("whole" if status == HTTPStatus.NOT_FOUND else "forming")
    except ConnectionRefusedError:
        return View("gone")
    except (OSError, http.client.HTTPException):
        return View("silent")
    if status != HTTPStatus.OK:
        return View("silent")
    cloud = json.loads(body)
    leads = cloud.get("leader_idx", 0) == cloud.get("node_idx", -1)
    if cloud["cloud_size"] < nodes:
        return View("forming", cloud=summary(cloud))
    healthy = cloud["cloud_size"] == nodes and bool(cloud["cloud_healthy"])
    return View("whole" if healthy else "broken", leads, summary(cloud))


def summary(cloud: Mapping[str, Any]) -> dict[str, Any]:
    """Of /3/Cloud what people ask for; memory in bytes, over all nodes."""
    every = cloud.get("nodes") or []
    return {
        "size": cloud["cloud_size"],
        "healthy": cloud["cloud_healthy"],
        "locked": cloud["locked"],
        "heap": sum(n["max_mem"] for n in every),
        "heap_used": sum(n["max_mem"] - n["free_mem"] for n in every),
        "data": sum(n["mem_value_size"] for n in every),
    }


def _get(host: str, port: int, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
