"""The Kubernetes API from inside a pod, with the few rights of its account."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server refused."""


def label(namespace: str, pod: str, key: str, value: str) -> None:
    """Set a label of a pod. Raises ApiError, OSError."""
    _call("PATCH", f"/api/v1/namespaces/{namespace}/pods/{pod}", {"metadata": {"labels": {key: value}}})


def annotation(namespace: str, workload: str, key: str) -> str | None:
    """An annotation of a StatefulSet, empty where it has none; None where there is no such set."""
    found = _call("GET", f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{workload}")
    return None if found is None else str((found["metadata"].get("annotations") or {}).get(key, ""))


def read(namespace: str, name: str) -> dict[str, str]:
    """The data of a ConfigMap. Raises ApiError where there is no such map."""
    found = _call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    if found is None:
        raise ApiError(f"there is no ConfigMap {name}")
    return dict(found.get("data") or {})


def write(namespace: str, name: str, data: dict[str, str]) -> None:
    """Merge into the data of a ConfigMap."""
    if _call("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/{name}", {"data": data}) is None:
        raise ApiError(f"there is no ConfigMap {name}")


def _call(method: str, path: str, body: Any = None) -> dict[str, Any] | None:
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    # The token is read each time: the kubelet renews it.
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text(encoding='utf-8').strip()}"}
    connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    try:
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as error:
        raise ApiError(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status == HTTPStatus.NOT_FOUND:
        return None
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise ApiError(f"{method} {path}: {answer.status} {text[:200].decode(errors='replace')}")
    found: dict[str, Any] = json.loads(text)
    return found
