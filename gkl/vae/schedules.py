# SPDX-License-Identifier: BSD-3-Clause
"""Annealing: a factor or a capacity as a function of the step."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

__all__ = ["CyclicalSchedule", "LinearSchedule"]


@dataclass(frozen=True)
class LinearSchedule:
    """From `start` to `stop` in equal steps, then constant.

    Bowman et al., "Generating sentences from a continuous space" (2016), anneal the KL term from
    0 to 1; Burgess et al., "Understanding disentangling in beta-VAE" (2018), raise the capacity.

    Parameters
    ----------
    steps : int
        After how many steps the value is `stop`.
    start, stop : float
        The first and the last value.
    delay : int
        Steps at `start` before these.

    Examples
    --------
    >>> from gkl import vae
    >>> beta = vae.LinearSchedule(4)
    >>> [beta(step) for step in (0, 1, 4, 1000)]
    [0.0, 0.25, 1.0, 1.0]
    """

    steps: int
    start: float = 0.0
    stop: float = 1.0
    delay: int = 0

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 1)
        _at_least("delay", self.delay, 0)
        _finite(self)

    def __call__(self, step: int) -> float:
        _at_least("step", step, 0)
        return _between(self.start, self.stop, (step - self.delay) / self.steps)


@dataclass(frozen=True)
class CyclicalSchedule:
    """Again and again from `start` to `stop`: in each cycle linearly, then constant.

    Fu et al., "Cyclical annealing schedule: a simple approach to mitigating KL vanishing" (2019).

    Parameters
    ----------
    period : int
        Steps of a cycle.
    cycles : int, optional
        After so many the value stays `stop`; None is without end.
    ramp : float
        The share of a cycle in which the value rises; above 0 and at most 1.
    start, stop : float
        The first and the last value of a cycle.

    Examples
    --------
    >>> from gkl import vae
    >>> beta = vae.CyclicalSchedule(4, cycles=2)
    >>> [beta(step) for step in range(10)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    """

    period: int
    cycles: int | None = None
    ramp: float = 0.5
    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        _at_least("period", self.period, 1)
        if self.cycles is not None:
            _at_least("cycles", self.cycles, 1)
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp is {self.ramp!r}, and has to be above 0 and at most 1")
        _finite(self)

    def __call__(self, step: int) -> float:
        _at_least("step", step, 0)
        if self.cycles is not None and step >= self.cycles * self.period:
            return self.stop
        return _between(self.start, self.stop, step % self.period / self.period / self.ramp)


def _at_least(name: str, x: int, least: int) -> None:
    if not x >= least:
        raise ValueError(f"{name} is {x!r}, and has to be at least {least}")


def _finite(schedule: LinearSchedule | CyclicalSchedule) -> None:
    for name, x in (("start", schedule.start), ("stop", schedule.stop)):
        if not isfinite(x):
            raise ValueError(f"{name} is {x!r}, and has to be finite")


def _between(start: float, stop: float, share: float) -> float:
    """The share of the way, at its ends exactly start and stop."""
    if share <= 0:
        return start
    return stop if share >= 1 else start + share * (stop - start)
