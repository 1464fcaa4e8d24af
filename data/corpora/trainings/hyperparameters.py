"""Hyperparameters that many families search, as an engineer would write them."""

from __future__ import annotations

from optformer.data.studies.parameters import Categorical, Condition, Float, Int, Ordinal


def rate(low: float, high: float, what: str = "learning rate") -> Float:
    """A learning rate on a logarithmic scale."""
    return Float(low, high, log=True, description=what)


def decay(low: float = 1e-6, high: float = 1e-1, when: Condition | None = None) -> Float:
    """A weight decay on a logarithmic scale."""
    return Float(low, high, log=True, when=when, description="weight decay")


def batch(*sizes: int) -> Ordinal:
    """Sizes of a mini-batch."""
    return Ordinal(list(sizes or (16, 32, 64)), description="mini-batch size")


def epochs(low: int, high: int) -> Int:
    """Passes over the examples."""
    return Int(low, high, log=True, description="passes over the training examples")


def dropout(high: float = 0.6, what: str = "share of hidden units dropped") -> Float:
    """A share of units dropped."""
    return Float(0.0, high, description=what)


def width(low: int, high: int, what: str = "width of the hidden layers") -> Int:
    """A width on a logarithmic scale."""
    return Int(low, high, log=True, description=what)


def warmup(high: float = 0.4) -> Float:
    """A share of the steps that warm up."""
    return Float(0.0, high, description="share of the steps that warm up")


def smoothing(high: float = 0.4) -> Float:
    """A label smoothing."""
    return Float(0.0, high, description="share of a label spread over all classes")


def clip() -> Float:
    """A largest norm of the gradient."""
    return Float(0.05, 10.0, log=True, description="largest norm of the gradient")


def initial() -> Float:
    """A factor of the initial weights."""
    return Float(0.1, 4.0, log=True, description="factor of the initial weights")


def momentum(low: float = 0.0, high: float = 0.99) -> Float:
    """A momentum of the gradient."""
    return Float(low, high, description="momentum of the gradient")


def schedule(*names: str) -> Categorical:
    """Schedules of the learning rate."""
    return Categorical(list(names), description="learning rate schedule")
