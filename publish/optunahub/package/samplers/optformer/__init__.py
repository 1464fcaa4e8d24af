"""The sampler of the `optformer` package, under OptunaHub's roof."""

from optformer import OptFormerSampler

__all__ = ["OptFormerSampler"]
