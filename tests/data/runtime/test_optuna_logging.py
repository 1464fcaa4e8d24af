from __future__ import annotations

import warnings
from collections.abc import Iterator

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from optformer.data.runtime.optuna_logging import quiet_optuna


@pytest.fixture(autouse=True)
def talkative() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    yield
    optuna.logging.set_verbosity(before)


def test_quiet_optuna__study_created_in_it__is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with quiet_optuna():
        optuna.create_study()
    assert caplog.messages == []
    optuna.create_study()
    assert "A new study created" in caplog.text


def test_quiet_optuna__note_on_an_experimental_feature__is_not_told() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_optuna():
            warnings.warn("experimental", ExperimentalWarning, stacklevel=1)
        assert caught == []
        warnings.warn("experimental", ExperimentalWarning, stacklevel=1)
        assert len(caught) == 1


def test_quiet_optuna__verbosity__is_left_as_it_was() -> None:
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
