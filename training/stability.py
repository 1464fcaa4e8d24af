"""Early warning of a run that diverges: the loss or the gradient's norm leaves its usual range."""

from __future__ import annotations

import math
from collections import deque

SPAN = 200
"""Steps that the usual range remembers; between two warnings there are as many."""

GRACE = 50
"""Steps before the first warning."""

WINDOW = 16
"""Steps that are judged together."""

LIMIT = 5.0
"""Deviations that the mean of a window may lie above the usual."""


class DivergenceWatch:
    """Compares the last steps' losses and gradient norms with those before.

    A number is judged by its distance z from the running mean in running deviations, at most
    `LIMIT`; a warning is due when the z of a window sum up to more than `LIMIT` times the root of
    the window's length. Noise reaches this once in millions of steps, a rise by 1.25 deviations
    within 16 steps, an explosion within 4: long before a number stops being finite.
    """

    def __init__(self) -> None:
        self._loss = _Usual()
        self._norm = _Usual()  # of its logarithm: norms are skewed
        self._quiet = 0

    def see(self, loss: float, norm: float) -> str | None:
        """Take in one step's finite loss and gradient norm; returns a warning, if one is due."""
        usual = {"loss": self._loss.mean, "gradient's norm": math.exp(self._norm.mean)}
        risen = {
            "loss": self._loss.risen(loss),
            "gradient's norm": self._norm.risen(math.log(max(norm, 1e-12))),
        }
        self._quiet -= 1
        if self._quiet > 0 or not any(risen.values()):
            return None
        self._quiet = SPAN
        what = next(name for name in risen if risen[name])
        now = {"loss": loss, "gradient's norm": norm}[what]
        return (
            f"the {what} rises: {now:.3g}, usually {usual[what]:.3g}; if this goes on, start again "
            "from the last good checkpoint with a lower learning rate"
        )


class _Usual:
    """Exponential mean and variance of a number, hardly moved by outliers above them."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.variance = 0.0
        self.steps = 0
        self.recent: deque[float] = deque(maxlen=WINDOW)

    def risen(self, value: float) -> bool:
        """Take in a value; whether the last ones lie too high."""
        deviation = math.sqrt(self.variance) + 1e-9
        if self.steps >= GRACE:
            above = (value - self.mean) / deviation
            self.recent.append(min(above, LIMIT))
            value = min(value, self.mean + LIMIT * deviation)
        self.steps += 1
        pace = max(1 / self.steps, 1 / SPAN)
        change = value - self.mean
        self.mean += pace * change
        self.variance = (1 - pace) * (self.variance + pace * change * change)
        return sum(self.recent) > LIMIT * math.sqrt(WINDOW)
