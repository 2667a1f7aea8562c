"""The queue of a pod against its closed forms, and against a simulation that shares nothing with it."""

from __future__ import annotations

from math import exp, inf, log

import ciw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.capacity.plan import latency


def test_known_answers() -> None:
    assert latency.p99(3000 / 19, 4, 0.020) == pytest.approx(0.133, abs=0.001)
    assert latency.pods_needed(3000, 4, 0.020, 1, 0.100) == 25
    assert latency.p99(3000 / 25, 4, 0.020) <= 0.100 < latency.p99(3000 / 24, 4, 0.020)
    assert latency.p99(3000, 19 * 4, 0.020) == pytest.approx(0.092, abs=0.001)
    assert latency.floor_p99(0.020) == pytest.approx(0.020 * log(100), rel=1e-12)


def test_erlang_c() -> None:
    assert latency.erlang_c(1, 0.7) == pytest.approx(0.7)
    # Two servers: C = 2 ρ² / (1 + ρ).
    assert latency.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert latency.erlang_c(4, 4.0) == latency.erlang_c(4, 9.0) == 1.0


@pytest.mark.parametrize("servers", [1, 2, 4, 32])
@pytest.mark.parametrize("utilization", [0.1, 0.5, 0.9, 0.99])
def test_exponential_service_is_the_closed_form(servers: int, utilization: float) -> None:
    service = 0.02
    rate = utilization * servers / service
    mu, d = 1 / service, servers / service - rate
    waits = latency.erlang_c(servers, rate * service)
    for t in (0.001, 0.02, 0.1, 0.5):
        if abs(d - mu) < 1e-9:
            expected = exp(-mu * t) * (1 + waits * mu * t)
        else:
            expected = exp(-mu * t) + waits * mu * (exp(-mu * t) - exp(-d * t)) / (d - mu)
        assert latency.tail(t, rate, servers, service) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_where_the_wait_is_as_fast_as_the_service() -> None:
    """d = μ: the closed form's denominator is 0, its limit is e^{-μt} (1 + C μ t)."""
    rate, servers, service = 50.0, 2, 0.02
    waits = latency.erlang_c(servers, 1.0)
    for t in (0.01, 0.1, 0.3):
        expected = exp(-t / service) * (1 + waits * t / service)
        assert latency.tail(t, rate, servers, service) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("cv", "floor"), [(0, 1.0), (0.1, 1.2472), (0.5, 2.5113), (1, 4.6052), (2, 9.7355)])
def test_floor_is_the_quantile_of_the_service(cv: float, floor: float) -> None:
    """Quantiles of the gamma distribution with mean 1 (for cv 0.5: half the χ² with 8 degrees of freedom, / 4)."""
    assert latency.floor_p99(1.0, cv) == pytest.approx(floor, abs=5e-4)


def test_one_server_constant_service_is_exact_in_the_mean() -> None:
    """M/D/1: the mean wait is ρ s / (2 (1 - ρ)); the form's is C / r."""
    rate, service = 80.0, 0.01
    waits, speed = latency.erlang_c(1, 0.8), 2 * (1 / service - rate)
    assert waits / speed == pytest.approx(0.8 * service / (2 * 0.2))
    assert latency.p99(rate, 1, service, 0) == pytest.approx(service + log(80) / speed)


def test_overload() -> None:
    assert latency.p99(200, 4, 0.02) == inf
    assert not latency.meets(10, 200, 4, 0.02)
    assert latency.pods_needed(1000, 4, 0.02, 1, 0.0921) is None


def _simulated_p99(rate: float, servers: int, service: float, cv: float, requests: int) -> float:
    shape = 1 / cv**2
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate)],
        service_distributions=[ciw.dists.Gamma(shape=shape, scale=service / shape)],
        number_of_servers=[servers],
    )
    ciw.seed(7)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(requests / rate)
    warm = requests / rate / 20
    times = sorted(r.waiting_time + r.service_time for r in simulation.get_all_records() if r.arrival_date > warm)
    return float(times[int(0.99 * len(times))])


@pytest.mark.parametrize(("cv", "utilization"), [(1, 0.7), (0.8, 0.6), (0.5, 0.6), (0.2, 0.6)])
def test_against_simulation(cv: float, utilization: float) -> None:
    servers, service = 4, 0.02
    rate = utilization * servers / service
    simulated = _simulated_p99(rate, servers, service, cv, requests=30_000)
    assert latency.p99(rate, servers, service, cv) == pytest.approx(simulated, rel=0.08)


queues = st.tuples(
    st.floats(0.001, 0.999),  # utilization
    st.integers(1, 256),
    st.floats(1e-5, 100),
    st.one_of(st.just(0.0), st.floats(0.001, 10)),
)


@given(queues, st.floats(0.01, 1000))
def test_tail_is_a_probability_that_falls(queue: tuple[float, int, float, float], times: float) -> None:
    utilization, servers, service, cv = queue
    rate = utilization * servers / service
    found = [latency.tail(t * service, rate, servers, service, cv) for t in (times, times * 1.5, times * 4)]
    assert all(0 <= p <= 1 for p in found)
    assert found[0] >= found[1] - 1e-9 and found[1] >= found[2] - 1e-9


@given(queues)
def test_p99_is_where_the_tail_is_one_in_a_hundred(queue: tuple[float, int, float, float]) -> None:
    utilization, servers, service, cv = queue
    rate = utilization * servers / service
    found = latency.p99(rate, servers, service, cv)
    assert found >= latency.floor_p99(service, cv) * (1 - 1e-9)
    if cv >= latency.CONSTANT:
        assert latency.tail(found, rate, servers, service, cv) == pytest.approx(0.01, rel=1e-6)


@given(queues, st.floats(1.05, 20), st.floats(1, 1e6))
def test_pods_needed_are_the_fewest(queue: tuple[float, int, float, float], slack: float, rate: float) -> None:
    _, servers, service, cv = queue
    sla = latency.floor_p99(service, cv) * slack
    pods = latency.pods_needed(rate, servers, service, cv, sla)
    if pods is None:
        assert not latency.meets(sla, rate / latency.MOST_PODS, servers, service, cv)
        return
    assert latency.meets(sla, rate / pods, servers, service, cv)
    assert pods == 1 or not latency.meets(sla, rate / (pods - 1), servers, service, cv)
