"""Which pod is each shard's primary, watched in the EndpointSlices of the shards' Services."""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("primaries")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SELECTOR = "headroom.dev/leads-to=primary"
# The API server ends a watch after this long, so that a broken one is not waited for for ever.
WATCH_S = 60
PAUSE_S = 1.0


class Primaries:
    """Calls `moved(shard)` when the address of a shard's primary becomes another one. `shards` are those that have a
    Service, by their numbers: also one that the configuration does not know yet, or no more."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved
        self._known: dict[int, str] = {}
        self.shards: frozenset[int] = frozenset()

    def watch(self) -> None:
        """Never returns; a failure is a pause."""
        while True:
            try:
                self._list_and_watch()
            except Exception as error:
                log.info("watching again: %s", error)
                time.sleep(PAUSE_S)

    def see(self, slice_: Mapping[str, Any]) -> None:
        """Take note of one EndpointSlice."""
        shard, address = number(slice_), primary(slice_)
        if shard is None:
            return
        self.shards |= {shard}
        if address is None:
            return
        before = self._known.get(shard)
        self._known[shard] = address
        if before not in (None, address):
            log.info("the primary of shard %d is %s, no longer %s", shard, address, before)
            self._moved(shard)

    def gone(self, slice_: Mapping[str, Any]) -> None:
        """Take note that one is no more."""
        self.shards -= {number(slice_)}

    def _list_and_watch(self) -> None:
        listed = json.loads(_get({"labelSelector": SELECTOR}, 10).read())
        self.shards = frozenset(n for slice_ in listed["items"] if (n := number(slice_)) is not None)
        for slice_ in listed["items"]:
            self.see(slice_)
        version = listed["metadata"]["resourceVersion"]
        query = {"labelSelector": SELECTOR, "watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_S)}
        with _get(query, WATCH_S + 10) as stream:
            for line in stream:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] == "DELETED":
                    self.gone(event["object"])
                else:
                    self.see(event["object"])


def number(slice_: Mapping[str, Any]) -> int | None:
    """The shard whose primary an EndpointSlice leads to."""
    service = slice_["metadata"]["labels"].get("kubernetes.io/service-name", "")
    found = re.fullmatch(r"pg-shard-(\d+)", service)
    return int(found[1]) if found else None


def primary(slice_: Mapping[str, Any]) -> str | None:
    """The one address that is ready, None while there is none or more than one."""
    ready = [
        address
        for endpoint in slice_.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint["addresses"]
    ]
    return ready[0] if len(ready) == 1 else None


def _get(query: Mapping[str, str], seconds: float) -> Any:
    namespace = (ACCOUNT / "namespace").read_text().strip()
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(
        f"https://{host}:{port}{path}", headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"}
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    return urllib.request.urlopen(request, timeout=seconds, context=context)  # noqa: S310
