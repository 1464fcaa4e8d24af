"""What errors say, however long what they quote is."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import OptFormerError, SearchSpaceError, StudyError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.space_files import load_space, save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Weighted


def _bomb(rest: str) -> str:
    """Ten values, of which aliases make ten times as many eight times over."""
    first = f"f0: &a0 [{', '.join(['lol'] * 10)}]"
    more = ", ".join(f"f{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))
    return f"x: {{{first}, {more}, {rest}}}"


_HOSTILE = {
    "bomb as type": _bomb("type: *a8"),
    "bomb as bound": _bomb("type: float, low: *a8, high: 1"),
    "itself": "x: &x {type: *x}",
    "long value": f"x: {{type: float, low: {'a' * 10**5}, high: 1}}",
    "long name": f"{'x' * 10**5}: {{type: float}}",
    "deep": "x: " + "[" * 500 + "]" * 500,
    "no truth value": 'x: {type: float, low: 1, high: 2, log: !!bool "perhaps"}',
    "no date": 'x: {type: float, low: !!timestamp "perhaps", high: 2}',
    "no number": 'x: {type: float, low: !!int "perhaps", high: 2}',
    "huge number": f"x: {{type: int, low: 0, high: {'9' * 5000}}}",
}


@pytest.mark.parametrize("name", list(_HOSTILE))
def test_load_space__hostile_file__is_refused_in_few_words(tmp_path: Path, name: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(_HOSTILE[name])
    with pytest.raises(SearchSpaceError) as caught:
        load_space(file)
    assert len(str(caught.value)) < 2500


def test_load_space__deep_json__is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"x": ' + "[" * 10**5 + "]" * 10**5 + "}")
    with pytest.raises(SearchSpaceError, match="nested too deeply"):
        load_space(tmp_path / "s.json")


def test_save_space__half_a_character__is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchSpaceError, match="cannot write"):
        save_space(SearchSpace(a=Categorical(["\ud800"])), tmp_path / "s.json")


@pytest.mark.parametrize(
    "call",
    [
        lambda: SearchSpace("m"),  # type: ignore[arg-type]
        lambda: Weighted(7),  # type: ignore[arg-type]
        lambda: SearchSpace(x=Float(0, 1)).validate(None),  # type: ignore[arg-type]
        lambda: Categorical([10**5000]),
        lambda: Int(0, 10**5000),
        lambda: Float(0, 1).validate(10**5000),
        lambda: Categorical([f"w{i}" for i in range(10**4)]).validate("x" * 10**6),
    ],
)
def test_public_names__hopeless_arguments__are_refused_in_few_words(
    call: Callable[[], Any],
) -> None:
    with pytest.raises(OptFormerError) as caught:
        call()
    assert len(str(caught.value)) < 2500


def test_error__long_message__keeps_both_ends_and_is_pickled() -> None:
    error = StudyError("begin " + "x" * 10**6 + " end")
    assert str(error).startswith("begin xxx")
    assert str(error).endswith("xxx end")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_search_space__very_many_parameters__take_no_time() -> None:
    started = time.process_time()
    space = SearchSpace({f"x{i}": Float(0, 1) for i in range(20_000)})
    assert space.names[:3] == ("x0", "x1", "x2")
    assert time.process_time() - started < 2
