"""Synthetic spaces and functions shared by the tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optformer.data.corpora.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.corpora.synthetic.spaces import SyntheticSpaces, draw_spaces


@pytest.fixture(scope="session")
def spaces() -> SyntheticSpaces:
    """60 spaces of 5 parameters, of all kinds."""
    return draw_spaces(60, 5, np.random.default_rng(1))


@pytest.fixture(scope="session")
def functions(spaces: SyntheticSpaces) -> SyntheticFunctions:
    """Four functions on each of them."""
    return draw_functions(spaces, 4, torch.Generator().manual_seed(2))
