from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import threadpoolctl
import torch

from optformer.data.runtime.threads import one_thread, one_torch_thread


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def library_threads() -> set[int]:
    return {library["num_threads"] for library in threadpoolctl.threadpool_info()}


def test_one_torch_thread__block_raises__as_many_as_before() -> None:
    with suppress(ValueError), one_torch_thread():
        assert torch.get_num_threads() == 1
        raise ValueError
    assert torch.get_num_threads() == 2


def test_one_torch_thread__under_a_limit__does_not_outlast_it() -> None:
    with threadpoolctl.threadpool_limits(1), one_torch_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_one_thread__libraries_of_linear_algebra__are_limited_too() -> None:
    with threadpoolctl.threadpool_limits(2):
        with one_thread():
            assert torch.get_num_threads() == 1
            assert library_threads() == {1}
        assert library_threads() == {2}
        assert torch.get_num_threads() == 2
