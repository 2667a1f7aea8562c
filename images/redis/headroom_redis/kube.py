"""The Kubernetes API from inside a pod, with the rights of its account."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server did not do what was asked."""


def request(method: str, path: str, body: Any = None) -> dict[str, Any] | None:
    """One call; None where there is no such object. Raises ApiError, OSError."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    try:
        headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text(encoding='utf-8').strip()}"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {answer.status} {text[:200].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(text)
        return found
    finally:
        connection.close()


def label(namespace: str, pod: str, key: str, value: str) -> None:
    """Set a label of a pod."""
    request("PATCH", f"/api/v1/namespaces/{namespace}/pods/{pod}", {"metadata": {"labels": {key: value}}})


def replicas(namespace: str, workload: str) -> int | None:
    """How many pods a StatefulSet is to have; None where there is no such set."""
    found = request("GET", f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{workload}")
    return None if found is None else int(found["spec"]["replicas"])


def read_record(namespace: str, name: str) -> dict[str, str]:
    """The data of a ConfigMap, empty where it has none."""
    found = request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    return dict((found or {}).get("data") or {})


def write_record(namespace: str, name: str, data: dict[str, str | None]) -> None:
    """Merge into the data of a ConfigMap; None removes a key."""
    if request("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/{name}", {"data": data}) is None:
        raise ApiError(f"there is no ConfigMap {name} in {namespace}")
