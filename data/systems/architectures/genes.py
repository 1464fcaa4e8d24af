"""How a graph of blocks is written as a point of a search space."""

from __future__ import annotations

from collections.abc import Mapping

from optformer.data.studies.parameters import Categorical, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace

BLOCKS = 6  # places for blocks; each takes connections from the stem (0) and those before it
OPERATIONS = ("convolution", "separable", "pool")
FILTERS = (4, 8, 16)
SIZES = (8, 4, 2)  # heights and widths in pixels


def space() -> SearchSpace:
    """Operation, filters and size of each block, and every possible connection."""
    parameters: dict[str, Parameter] = {}
    for block in range(1, BLOCKS + 1):
        operation = block_gene(block, "operation")
        here = {operation: list(OPERATIONS)}
        parameters |= {
            operation: Categorical(
                ["none", *OPERATIONS], description="what the block does, none leaves it out"
            ),
            block_gene(block, "filters"): Ordinal(FILTERS, when=here, description="channels"),
            block_gene(block, "size"): Ordinal(SIZES, when=here, description="resolution"),
        }
        for source in range(block):
            both = here | ({block_gene(source, "operation"): list(OPERATIONS)} if source else {})
            parameters[connection_gene(source, block)] = Categorical(
                [False, True], when=both, description=f"connect {source or 'stem'} to {block}"
            )
    return SearchSpace(parameters)


def block_gene(block: int, name: str) -> str:
    """Parameter that holds a block's operation, filters or size."""
    return f"block{block}.{name}"


def connection_gene(source: int, block: int) -> str:
    """Parameter that says whether a block takes input from an earlier one; 0 is the stem."""
    return f"connect {source}-{block}"


def gate_metric(connection: str) -> str:
    """Metric that holds the learned weight of a connection such as `0-3`."""
    return f"gate {connection}"


def present_blocks(params: Mapping[str, Value]) -> list[int]:
    """Blocks that are not left out, in order."""
    return [k for k in range(1, BLOCKS + 1) if params[block_gene(k, "operation")] != "none"]
