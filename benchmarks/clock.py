"""Seconds that calls take. Each call must wait for its results."""

import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]


def once(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def in_turn(calls: Mapping[str, Call], repeats: int, warm_up: int = 0) -> dict[str, list[float]]:
    """`repeats` times of each after `warm_up` calls; they take turns, so that neighbours on the machine disturb all."""
    rounds = [{name: once(call) for name, call in calls.items()} for _ in range(warm_up + repeats)]
    return {name: [times[name] for times in rounds[warm_up:]] for name in calls}


def fastest(calls: Mapping[str, Call], repeats: int, warm_up: int = 0) -> dict[str, float]:
    return {name: min(times) for name, times in in_turn(calls, repeats, warm_up).items()}


def steady(call: Call, seconds: float, warm_up: int = 2) -> float:
    """Median of as many times as fit in `seconds`, at least three and at most a hundred, after `warm_up` calls."""
    for _ in range(warm_up):
        call()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 100):
        times.append(once(call))
    return statistics.median(times)
