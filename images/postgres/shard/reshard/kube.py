"""What the Job asks of the API server: that it is the only one of its kind, who pools connections, and to show how far
it is."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PROGRESS = "headroom.dev/progress"


class ApiError(Exception):
    """The API server did not do what was asked."""


def remove_other_jobs(namespace: str, app: str, mine: str) -> list[str]:
    """Delete the Jobs of other contents, and their pods; returns their names.

    One that works would be in the way. One that is done would count as done for ever: if its content is wanted again,
    after this one, it must run again.
    """
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    names = [item["metadata"]["name"] for item in _call("GET", f"{jobs}?labelSelector={quote(f'app={app}')}")["items"]]
    others = [name for name in names if name != mine]
    for name in others:
        _call("DELETE", f"{jobs}/{name}", {"propagationPolicy": "Background"})
    return others


def show(namespace: str, job: str, progress: str) -> None:
    """Write on the Job how far it is."""
    _call(
        "PATCH",
        f"/apis/batch/v1/namespaces/{namespace}/jobs/{job}",
        {"metadata": {"annotations": {PROGRESS: progress}}},
    )


def endpoints(namespace: str, service: str) -> Iterator[str]:
    """The addresses behind a Service, ready or not, but for those on their way out."""
    label = quote(f"kubernetes.io/service-name={service}")
    slices = _call("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={label}")
    for one in slices["items"]:
        for endpoint in one.get("endpoints") or []:
            if not (endpoint.get("conditions") or {}).get("terminating"):
                yield from endpoint["addresses"]


def _call(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """One call; an empty answer where there is no such object. Raises ApiError, OSError."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    try:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}", "Content-Type": kind}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return {"items": []}
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {answer.status} {text[:200].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(text)
        return found
    finally:
        connection.close()
