"""Things to tune: live tasks with real training behind them."""

from __future__ import annotations

from optformer.data.objectives.base import Objective

__all__ = ["Objective"]
