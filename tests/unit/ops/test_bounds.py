"""What scaling writes, and in which steps it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from headroom.capacity import demand, plan
from headroom.capacity.plan.model import ServicePlan
from headroom.errors import InputError
from headroom.ops import splice
from headroom.ops.scale import bounds

ROOT = Path(__file__).resolve().parents[3]
PROD = (ROOT / "Pulumi.prod.yaml").read_text()
INFERENCE = ("config", "headroom:services", "inference")


def planned(text: str, tmp_path: Path, key: str = "inference") -> ServicePlan:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(text)
    return next(s for s in plan.make(demand.load("prod", file)).services if s.key == key)


def numbers(service: ServicePlan) -> tuple[int, int]:
    return service.min_replicas.value, service.max_replicas.value


@pytest.mark.parametrize(("to", "expected"), [(30, (30, 30)), (12, (12, 15)), (5, (5, 15)), (3, (3, 15))])
def test_the_plan_of_what_is_written_is_what_was_asked(tmp_path: Path, to: int, expected: tuple[int, int]) -> None:
    plain = planned(PROD, tmp_path)
    assert numbers(plain) == (5, 15)
    text = bounds.replicas("inference", to, "launch day", plain)(PROD)
    assert numbers(planned(text, tmp_path)) == expected
    assert bounds.restored("inference")(text) == PROD


def test_from_one_emergency_to_another_leaves_one_line(tmp_path: Path) -> None:
    plain = planned(PROD, tmp_path)
    text = bounds.replicas("inference", 30, "launch day", plain)(PROD)
    text = bounds.replicas("inference", 3, "night", plain)(text)
    assert splice.get(text, (*INFERENCE, "emergencyReplicas")) is None
    assert bounds.held(text, "inference") == {"minReplicas": {"value": 3, "because": "night"}}


def test_an_override_of_a_persons_is_not_taken_back() -> None:
    mine = splice.put(PROD, (*INFERENCE, "override", "maxReplicas"), {"value": 40, "because": "contract"})
    raised = splice.put(mine, (*INFERENCE, "override", "minReplicas"), {"value": 3, "because": "night"})
    assert bounds.restored("inference")(raised) == mine


def test_larger_pods_have_threads_in_proportion(tmp_path: Path) -> None:
    text = bounds.pod_size("inference", "2", "4Gi", "the pool is full")(PROD)
    service = planned(text, tmp_path)
    size = service.resources
    assert (size.cpu_request.value, size.cpu_limit.value, size.memory_request.value) == ("2", "4", "4Gi")
    assert service.worker_threads is not None and service.worker_threads.value == 8
    assert bounds.restored("inference")(text) == PROD


def test_a_larger_inferadb_has_a_larger_cache(tmp_path: Path) -> None:
    text = bounds.pod_size("inferadb", None, "8Gi", "misses")(PROD)
    service = planned(text, tmp_path, "inferadb")
    assert service.cache_capacity is not None and service.cache_capacity.value == 4_000_000


def test_pgbouncer_has_no_autoscaler_and_takes_an_override() -> None:
    text = bounds.replicas("pgbouncer", 4, "clients queue", None)(PROD)
    path = ("config", "headroom:pgbouncer", "override", "replicas")
    assert splice.get(text, path) == {"value": 4, "because": "clients queue"}
    assert bounds.restored("pgbouncer")(text) == PROD


@pytest.mark.parametrize(
    ("now", "to", "way"),
    [
        (3, 3, []),
        (2, 5, [3, 4, 5]),
        (10, 4, [8, 6, 5, 4]),
        (4, 20, [5, 7, 9, 12, 15, 19, 20]),
        (0, 2, [1, 2]),
        (1, 0, [0]),
    ],
)
def test_steps_are_at_most_a_quarter_and_end_where_asked(now: int, to: int, way: list[int]) -> None:
    assert bounds.steps(now, to) == way


def test_no_step_is_ever_more_than_a_quarter_or_one() -> None:
    for now in range(60):
        for to in range(60):
            before = now
            for pods in bounds.steps(now, to):
                assert abs(pods - before) <= max(1, -(-before // 4))
                assert (pods > before) == (to > now)
                before = pods
            assert before == to


@pytest.mark.parametrize(("now", "to", "warned"), [(5, 10, False), (5, 11, True), (0, 2, False), (0, 3, True)])
def test_more_than_twice_as_many_is_worth_a_warning(now: int, to: int, warned: bool) -> None:
    assert bool(bounds.sudden(now, to)) is warned


def test_no_pods_is_maintenance_and_not_a_scale() -> None:
    with pytest.raises(InputError, match="a service without pods is down"):
        bounds.counted(0)


def without_nodes(text: str) -> str:
    return splice.drop(text, ("config", "headroom:nodes"))


def stack_plan(text: str, tmp_path: Path) -> plan.Plan:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(text)
    return plan.make(demand.load("prod", file))


def test_connections_are_counted_again_and_bouncers_come_along(tmp_path: Path) -> None:
    text = without_nodes(PROD)
    plain = planned(text, tmp_path)
    before = stack_plan(text, tmp_path).pgbouncer
    raised = stack_plan(bounds.replicas("inference", 400, "x", plain)(text), tmp_path).pgbouncer
    assert before is not None and raised is not None
    # (400 + 100 surge) pods × 4 connections, and those of mage: more than one spare bouncer's 1,000 carry.
    assert raised.replicas.value > before.replicas.value
    assert "inference (400 + 100) × 4" in raised.replicas.because


def test_more_than_the_shards_bear_is_refused_with_what_works(tmp_path: Path) -> None:
    text = without_nodes(PROD)
    edit = bounds.replicas("inference", 20_000, "x", planned(text, tmp_path))
    with pytest.raises(InputError) as raised:
        stack_plan(edit(text), tmp_path)
    assert "clients are too many" in raised.value.message
    assert "the largest maxReplicas of inference that works is" in raised.value.fix


def test_more_than_the_declared_nodes_bear_is_refused(tmp_path: Path) -> None:
    edit = bounds.replicas("inference", 2000, "x", planned(PROD, tmp_path))
    with pytest.raises(InputError, match="most of it for inference"):
        stack_plan(edit(PROD), tmp_path)
