"""Doors that a change opens: who may reach what from outside, and what may be done with the cluster's API.

`before` is None for an object that is new. An object that closes something opens nothing, so it is not told here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headroom.ops.diff.model import Danger, Rendered

_PUBLIC = ("LoadBalancer", "NodePort")
_OURS = "headroom.dev/"
_WHO_MAY_COME = ("loadBalancerSourceRanges", "loadBalancerClass", "externalIPs")
_EVERYWHERE = frozenset({"0.0.0.0/0", "::/0"})
_SIDES = {"ingress": ("Ingress", "from", "lets anyone in"), "egress": ("Egress", "to", "lets its pods out to anywhere")}
_SHOWN = 5


def opened(before: Rendered | None, after: Rendered) -> Iterator[Danger]:
    """What `after` opens that `before` kept closed."""
    match after.kind:
        case "Service":
            told = _service(before, after)
        case "NetworkPolicy":
            told = _network_policy(before, after)
        case "Role" | "ClusterRole":
            told = _role(before, after)
        case "RoleBinding" | "ClusterRoleBinding":
            told = _binding(before, after)
        case _:
            return
    for words in told:
        yield Danger("exposure", after.title, words)


def _service(before: Rendered | None, after: Rendered) -> Iterator[str]:
    new, old = _part(after, "spec"), _part(before, "spec")
    if new.get("type") not in _PUBLIC:
        if new.get("externalIPs") and new.get("externalIPs") != old.get("externalIPs"):
            yield "can be reached from outside the cluster (externalIPs)"
        return
    if new["type"] != old.get("type"):
        yield f"can be reached from outside the cluster ({new['type']})"
        return
    notes, noted = _annotations(after), _annotations(before)
    for key in sorted(notes.keys() | noted.keys()):
        if not key.startswith(_OURS) and notes.get(key) != noted.get(key):
            yield (
                f"is public, and its annotation {key} goes from {_shown(noted.get(key))} to {_shown(notes.get(key))}, "
                "which may say who can reach it"
            )
    for key in _WHO_MAY_COME:
        if new.get(key) != old.get(key):
            yield f"is public, and {key} goes from {_shown(old.get(key))} to {_shown(new.get(key))}"
    more = [p for p in _ports_of(new) if p not in _ports_of(old)]
    if more:
        yield f"is public, and now on {_ports(more)}, too"


def _ports_of(spec: Mapping[str, Any]) -> list[Any]:
    return [port.get("port") for port in spec.get("ports") or ()]


def _network_policy(before: Rendered | None, after: Rendered) -> Iterator[str]:
    new = _part(after, "spec")
    if before is None:
        # In a namespace that starts closed a policy opens what its pods need; one for all pods opens everyone's.
        if new.get("podSelector") not in (None, {}):
            return
        old: Mapping[str, Any] = {"policyTypes": ["Ingress", "Egress"]}
    else:
        old = _part(before, "spec")
    for side, (kind, peers, words) in _SIDES.items():
        if kind in (old.get("policyTypes") or ()) and kind not in (new.get("policyTypes") or ()):
            yield f"{words}: it no longer says anything of {side}"
            continue
        was = _open(old.get(side) or (), peers)
        now = [port for port in _open(new.get(side) or (), peers) if port not in was and _ALL not in was]
        if now:
            yield f"{words} ({'all ports' if _ALL in now else _ports(now)})"


_ALL = ("", None, None)


def _open(rules: Sequence[Mapping[str, Any]], peers: str) -> list[tuple[Any, ...]]:
    """The ports (protocol, first, last) of the rules that name no peer, or everyone."""
    found: list[tuple[Any, ...]] = []
    for rule in rules:
        named = rule.get(peers) or ()
        if named and not any((p.get("ipBlock") or {}).get("cidr") in _EVERYWHERE for p in named):
            continue
        ports = rule.get("ports") or ()
        found += [(p.get("protocol", "TCP"), p.get("port"), p.get("endPort")) for p in ports] or [_ALL]
    return found


def _ports(ports: Sequence[Any]) -> str:
    texts = []
    for port in ports:
        protocol, first, last = port if isinstance(port, tuple) else ("TCP", port, None)
        texts.append(("" if protocol == "TCP" else f"{protocol} ") + (f"{first}–{last}" if last else f"{first}"))
    return ("port " if len(texts) == 1 else "ports ") + _listed(texts)


def _role(before: Rendered | None, after: Rendered) -> Iterator[str]:
    was = set(_rights(before))
    new = [right for right in _rights(after) if right not in was and (*right[:3], False) not in was]
    if new:
        texts = [f"{verb} {resource}" + (f".{group}" if group else "") for group, resource, verb, _ in new]
        who = "its holders may now " if before else "is new: its holders may "
        yield who + _listed(list(dict.fromkeys(texts)))


def _rights(o: Rendered | None) -> list[tuple[str, str, str, bool]]:
    """(group, resource, verb, only of named objects), each once. A name more is none more: a set of pods grew."""
    return list(
        dict.fromkeys(
            (str(group), str(resource), str(verb), bool(rule.get("resourceNames")))
            for rule in ((o.manifest.get("rules") if o else None) or ())
            for group in rule.get("apiGroups") or ("",)
            for resource in [*(rule.get("resources") or ()), *(rule.get("nonResourceURLs") or ())]
            for verb in rule.get("verbs") or ()
        )
    )


def _binding(before: Rendered | None, after: Rendered) -> Iterator[str]:
    role = _part(after, "roleRef")
    name = f"{role.get('kind')} {role.get('name')}"
    if before is None:
        if role.get("kind") == "ClusterRole":  # what a Role of the stack allows is told of the Role
            yield f"gives {_listed(_subjects(after))} the rights of {name}"
        return
    more = [subject for subject in _subjects(after) if subject not in _subjects(before)]
    if more:
        yield f"gives {_listed(more)} the rights of {name}, too"


def _subjects(o: Rendered) -> list[str]:
    return [
        f"{s.get('kind')} " + (f"{s['namespace']}/" if s.get("namespace") else "") + str(s.get("name"))
        for s in o.manifest.get("subjects") or ()
    ]


def _part(o: Rendered | None, key: str) -> Mapping[str, Any]:
    return {} if o is None else dict(o.manifest.get(key) or {})


def _annotations(o: Rendered | None) -> Mapping[str, Any]:
    return {} if o is None else dict(o.manifest["metadata"].get("annotations") or {})


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _listed(texts: Sequence[str]) -> str:
    shown = [text if len(text) <= 120 else f"{text[:117]}…" for text in texts[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
