"""What a family of scikit-learn models is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optformer.data.objectives.sklearn_data import Kind
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        model: Its name as an engineer would write it.
        spaces: What is searched, for each kind of data it handles.
        build: Kind of data and a legal point to an unfitted model.
        datasets: The data sets of the benchmark's selection, if it is of the benchmark.
    """

    model: str
    spaces: Mapping[Kind, SearchSpace]
    build: Callable[[Kind, Mapping[str, Value]], Any]
    datasets: tuple[str, ...] = ()


def input_transform(name: str, quantiles: int = 50) -> Any:
    """A transformation of the inputs: `none`, `standard` or `quantile` with so many knots."""
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    if name == "none":
        return "passthrough"
    if name == "standard":
        return StandardScaler()
    return QuantileTransformer(n_quantiles=quantiles, output_distribution="normal")
