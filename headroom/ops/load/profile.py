"""What was found, in the words of a stack file."""

from __future__ import annotations

from math import floor

from headroom.ops.load.find import Found


def profile(service: str, found: Found, pods: int, cpu_time_s: float | None, threads: int | None) -> str:
    """The lines of `headroom:services.<service>.profile` that were measured, ready to paste.

    A pod's rate is rounded down; times keep three digits. `cpu_time_s` is None where pods do not tell it.
    """
    lines = [
        f"rpsPerPod: {max(1, floor(found.best.rate / pods))}",
        f"serviceTime: {_duration(found.rest.mean_ms / 1000)}",
        f"serviceTimeCv: {min(found.rest.cv, 5.0):.2g}",
    ]
    if cpu_time_s is not None:
        lines.append(f"cpuTime: {_duration(cpu_time_s)}")
    if threads is not None:
        lines.append(f"workerThreads: {threads}")
    head = f"# headroom:services.{service}.profile, measured with headroom load; cpu and memory stay as they are"
    return "\n".join([head, "profile:", *(f"  {line}" for line in lines)])


def _duration(seconds: float) -> str:
    """Three digits in the unit that needs no zeros before them.

    >>> _duration(0.00812), _duration(0.0000684), _duration(1.5)
    ('8.12ms', '68.4us', '1500ms')
    """
    if seconds < 0.001:
        return f"{float(f'{seconds * 1e6:.3g}'):g}us"
    return f"{float(f'{seconds * 1e3:.3g}'):g}ms"
