"""Response times of a pod: an M/M/c queue, and its form for service times that are not exponential.

A Kubernetes Service spreads connections at random, so each pod is a queue of its own: Poisson arrivals at rate λ, `c`
threads, service with mean `s` and coefficient of variation `cv`. The wait is 0 with probability 1 - C (Erlang C), else
exponential with rate r = 2d / (1 + cv²), d = c/s - λ (exact at cv 1; for others the two-moment form of Allen and
Cunneen, in heavy traffic Kingman 1962). Service is gamma with shape k = 1/cv² and scale θ = s cv². The response is
their sum:

    P(T > t) = P(S > t) + C ∫₀ᵗ f_S(x) e^{-r(t-x)} dx

The integral is a confluent hypergeometric function, so nothing is integrated numerically. At cv 1 all of it is the
closed form of M/M/c. Floats live here and nowhere else in the plan: seconds in, probabilities and seconds out.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf, lgamma, log

QUANTILE = 0.01
"""One request in a hundred is slower than the p99."""
CONSTANT = 0.001
"""Below this coefficient of variation a service time is taken as constant."""
MOST_PODS = 100_000


def erlang_c(servers: int, offered: float) -> float:
    """The probability that a request waits: `offered` = λ s Erlangs on `servers` threads; 1 when they fall behind."""
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    utilization = offered / servers
    return blocked / (1 - utilization * (1 - blocked))


def tail(t: float, rate: float, servers: int, service: float, cv: float = 1.0) -> float:
    """P(T > t): the share of requests slower than `t` seconds at `rate` requests a second on one pod."""
    waits, speed = _wait(rate, servers, service, cv)
    return _tail(t, waits, speed, service, cv)


@lru_cache(maxsize=8192)
def p99(rate: float, servers: int, service: float, cv: float = 1.0) -> float:
    """The p99 response time in seconds of one pod; infinite when it cannot keep up."""
    if rate * service >= servers:
        return inf
    waits, speed = _wait(rate, servers, service, cv)
    if cv < CONSTANT:
        return service + max(0.0, log(waits / QUANTILE) / speed) if waits > 0 else service
    return _solve(waits, speed, service, cv)


@lru_cache(maxsize=1024)
def floor_p99(service: float, cv: float = 1.0) -> float:
    """The p99 of the service alone: no number of pods gets below it."""
    return service if cv < CONSTANT else _solve(0.0, 1.0, service, cv)


@lru_cache(maxsize=8192)
def meets(sla: float, rate: float, servers: int, service: float, cv: float = 1.0) -> bool:
    """Whether one pod's p99 at `rate` is at most `sla` seconds."""
    return rate * service < servers and tail(sla, rate, servers, service, cv) <= QUANTILE


@lru_cache(maxsize=8192)
def pods_needed(rate: float, servers: int, service: float, cv: float, sla: float) -> int | None:
    """The fewest pods whose p99 at `rate` over all of them is at most `sla`; None where no number is."""
    if not meets(sla, rate / MOST_PODS, servers, service, cv):
        return None
    low, high = 0, max(1, int(rate * service / servers))
    while not meets(sla, rate / high, servers, service, cv):
        low, high = high, min(2 * high, MOST_PODS)
    while high - low > 1:
        middle = (low + high) // 2
        if meets(sla, rate / middle, servers, service, cv):
            high = middle
        else:
            low = middle
    return high


def _wait(rate: float, servers: int, service: float, cv: float) -> tuple[float, float]:
    """(C, r): the probability of a wait, and the rate of its exponential length."""
    if rate * service >= servers:
        return 1.0, 0.0
    return erlang_c(servers, rate * service), 2 * (servers / service - rate) / (1 + cv * cv)


def _tail(t: float, waits: float, speed: float, service: float, cv: float) -> float:
    if t <= 0:
        return 1.0
    if cv < CONSTANT:
        return 1.0 if t < service else waits * exp(-speed * (t - service))
    shape, scale = 1 / (cv * cv), service * cv * cv
    slow = _gamma_tail(shape, t / scale)
    if waits <= 0:
        return slow
    return min(1.0, slow + waits * _waiting(t, shape, scale, speed))


def _solve(waits: float, speed: float, service: float, cv: float) -> float:
    """Where the tail is the quantile: false position (Illinois) on its logarithm, which is nearly a line."""
    aim = log(QUANTILE)

    def above(t: float) -> float:
        found = _tail(t, waits, speed, service, cv)
        return (log(found) if found > 0 else -745.0) - aim

    low, high = 0.0, service
    f_low = -aim
    f_high = above(high)
    while f_high > 0:
        low, f_low = high, f_high
        high *= 2
        f_high = above(high)
    side = 0
    for _ in range(200):
        t = (low * f_high - high * f_low) / (f_high - f_low)
        f = above(t)
        if abs(f) < 1e-12 or high - low <= 1e-13 * high:
            return t
        if f > 0:
            low, f_low = t, f
            f_high = f_high / 2 if side > 0 else f_high
            side = 1
        else:
            high, f_high = t, f
            f_low = f_low / 2 if side < 0 else f_low
            side = -1
    return (low + high) / 2


def _waiting(t: float, shape: float, scale: float, speed: float) -> float:
    """∫₀ᵗ f_S(x) e^{-r(t-x)} dx = (t/θ)^k / Γ(k+1) · e^{-rt} · M(k, k+1, -z), z = t (1/θ - r)."""
    z = t * (1 / scale - speed)
    head = shape * log(t / scale) - lgamma(shape + 1) - speed * t
    if z > shape + 1:
        return exp(-speed * t - shape * log(1 - speed * scale)) * (1 - _upper_fraction(shape, z))
    if z >= 0:
        return exp(head - z + log(_rising(shape, z)))
    y = -z
    if y > 2 * shape + 50:
        total = term = 1.0
        for n in range(200):
            term *= (1 - shape + n) / y
            total += term
            if abs(term) < 1e-16 * total:
                break
        return exp(head + y + log(shape / y) + log(total))
    return exp(head + _log_kummer(shape, y))


def _log_kummer(shape: float, y: float) -> float:
    """ln Σ k/(k+n) yⁿ/n!; the sum is rescaled on its way, as it may be as large as e^y."""
    total = power = 1.0
    shift = 0.0
    n = 0
    while True:
        n += 1
        power *= y / n
        term = power * shape / (shape + n)
        total += term
        if total > 1e250:
            total, power, shift = total * 1e-250, power * 1e-250, shift + 250 * log(10)
        if n > y and term < 1e-16 * total:
            return log(total) + shift


def _gamma_tail(shape: float, x: float) -> float:
    """Q(k, x), the regularized upper incomplete gamma function (series below k + 1, continued fraction above)."""
    if x < shape + 1:
        return max(0.0, 1 - exp(shape * log(x) - x - lgamma(shape + 1) + log(_rising(shape, x))))
    return _upper_fraction(shape, x)


def _rising(shape: float, x: float) -> float:
    """Σ xⁿ / ((k+1) … (k+n)) = M(1, k+1, x), for x at most about k + 1."""
    total = term = 1.0
    at = shape
    while term > 1e-16 * total:
        at += 1
        term *= x / at
        total += term
    return total


def _upper_fraction(shape: float, x: float) -> float:
    """Q(k, x) for x > k + 1 by Lentz's continued fraction."""
    tiny = 1e-300
    b = x + 1 - shape
    c = 1 / tiny
    d = 1 / b
    h = d
    for n in range(1, 100_000):
        a = -n * (n - shape)
        b += 2
        d = a * d + b
        d = 1 / (d if abs(d) > tiny else tiny)
        c = b + a / c
        c = c if abs(c) > tiny else tiny
        step = d * c
        h *= step
        if abs(step - 1) < 1e-15:
            break
    return exp(shape * log(x) - x - lgamma(shape)) * h
