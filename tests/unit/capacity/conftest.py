"""Short ways to a demand and a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headroom.capacity import demand, plan
from headroom.capacity.plan import Plan
from headroom.errors import InputError

Config = dict[str, Any]
MakePlan = Callable[..., Plan]


def _config(environment: str, parts: Config) -> Config:
    return {
        "headroom:environment": environment,
        "headroom:namespace": "test",
        **{f"headroom:{k}": v for k, v in parts.items()},
    }


@pytest.fixture
def planned() -> MakePlan:
    """`planned(environment="prod", months=0, services={...}, postgres={...})`: the plan of those keys."""

    def make(environment: str = "prod", months: int = 0, **parts: Any) -> Plan:
        return plan.make(demand.from_config("test", _config(environment, parts)), months)

    return make


@pytest.fixture
def refused(planned: MakePlan) -> Callable[..., InputError]:
    """The InputError that these keys get; fails when they are accepted."""

    def make(**parts: Any) -> InputError:
        with pytest.raises(InputError) as found:
            planned(**parts)
        assert found.value.exit_code == 2
        return found.value

    return make


@pytest.fixture
def value() -> Callable[[Plan, str, str], int | float | str]:
    """The value of a line: `value(plan, "postgres", "shards")`."""

    def find(made: Plan, component: str, setting: str) -> int | float | str:
        found = [line.value for line in made.lines if (line.component, line.setting) == (component, setting)]
        assert len(found) == 1, (component, setting, found)
        return found[0]

    return find
