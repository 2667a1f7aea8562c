"""Whether a reading keeps what the stack promises."""

from __future__ import annotations

from headroom.ops.load.model import Reading

ERROR_SHARE = 0.001
"""One request in a thousand may fail."""
RATE_SHARE = 0.98
"""Of the rate asked for, what must be answered in time: the rest is chance at the ends of a run."""


def misses(found: Reading, p99_ms: float | None) -> list[str]:
    """What is missed, in words; empty when all is kept. `p99_ms` None: no latency is promised."""
    said = []
    if found.error_share > ERROR_SHARE:
        said.append(f"{found.errors:,} of {found.due:,} requests were not served ({_kinds(found)}); 0.1 % may fail")
    if found.rps < RATE_SHARE * found.rate:
        said.append(f"{found.rps:,.0f} of {found.rate:,.0f} requests a second were served")
    if p99_ms is not None and found.p99_ms > p99_ms:
        said.append(f"the p99 is {found.p99_ms:,.1f} ms, promised are {p99_ms:,.6g} ms")
    return said


def _kinds(found: Reading) -> str:
    kinds = {
        "answered 503": found.refused,
        "answered 404": found.unknown,
        "other failures": found.failed,
        "without an answer": found.silent,
        "not sent in time": found.unsent,
    }
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.items() if number)
