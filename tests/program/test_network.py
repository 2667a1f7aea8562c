"""Who is let in to the data: every path that a NetworkPolicy opens to the shards and to Redis, and no other."""

from __future__ import annotations

from typing import Any

from headroom.engine.rendered import Rendered

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


def ways_in(stack: Rendered, label: str) -> dict[str, tuple[dict[str, str], list[dict[str, Any]]]]:
    """Name, chosen pods and ingress rules of the policies that choose pods by `app.kubernetes.io/name` of a prefix."""
    found = {}
    for o in stack.objects:
        if o.id.kind == "NetworkPolicy":
            spec = o.manifest["spec"]
            chosen = spec["podSelector"].get("matchLabels", {})
            if chosen.get("app.kubernetes.io/name", "").startswith(label):
                assert "Ingress" in spec["policyTypes"], o.id
                found[o.id.name] = (chosen, spec.get("ingress", []))
    return found


def test_a_shard_serves_the_pooler_and_the_jobs_and_its_like_alone(stack: Rendered) -> None:
    sets = {o.id.name for o in stack.objects if o.id.kind == "StatefulSet" and o.id.name.startswith("pg-shard-")}
    found = ways_in(stack, "pg-shard-")
    assert sets and set(found) == sets
    for name, (chosen, ingress) in found.items():
        shards = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "database"}}}
        callers = [shards, pods(app="pgbouncer"), pods(app="pg-bootstrap"), pods(app="pg-move")]
        assert chosen["app.kubernetes.io/name"] == name
        assert ingress == [
            {"from": callers, "ports": tcp(5432)},
            {"from": [pods(**chosen), pods(app="pg-bootstrap"), MONITORING], "ports": tcp(8008)},
        ]


def test_redis_serves_the_stack_alone(stack: Rendered) -> None:
    found = ways_in(stack, "redis")
    sentinel = stack.stack in ("local", "dev")
    served, own = (tcp(6379, 26379), tcp(6379, 26379)) if sentinel else (tcp(6379), tcp(6379, 16379))
    mine = {"app.kubernetes.io/part-of": "headroom", "app.kubernetes.io/instance": stack.stack}
    chosen, ingress = found.pop("redis")
    assert ingress == [
        {"from": [{"namespaceSelector": {"matchLabels": mine}}], "ports": served},
        {"from": [pods(**chosen)], "ports": own},
        {"from": [MONITORING], "ports": tcp(9121)},
    ]
    assert all(rules == [] for _, rules in found.values()), "the Jobs serve nobody"


def test_no_policy_lets_everyone_in(stack: Rendered) -> None:
    data = {**ways_in(stack, "pg-"), **ways_in(stack, "redis"), **ways_in(stack, "pgbouncer")}
    assert {"pgbouncer", "redis"} <= set(data)
    for name, (_, ingress) in data.items():
        for rule in ingress:
            assert rule.get("from") and rule.get("ports"), name
            assert all(peer and all(v.get("matchLabels") for v in peer.values()) for peer in rule["from"]), name
