"""What every store of trials keeps to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from optformer.data.studies.errors import TrialError
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.storage import create_store
from optformer.serving.study.trial_store import StudyRecord, TrialStore


class TrialStoreContract:
    """What every store keeps to; subclasses give the store."""

    @pytest.fixture
    def store(self, record: StudyRecord) -> TrialStore:
        raise NotImplementedError

    @pytest.fixture
    def new(self, point: dict[str, Value]) -> Trial:
        return Trial(number=-1, params=point, study="s")

    def test_append__new_trials__are_numbered_from_zero(
        self, store: TrialStore, new: Trial
    ) -> None:
        assert store.all() == []
        added = [store.append(new) for _ in range(3)]
        assert [trial.number for trial in added] == [0, 1, 2]
        assert store.all() == added
        assert new.number == -1

    def test_append__finished_trials__keep_their_outcome(
        self, store: TrialStore, new: Trial
    ) -> None:
        added = [
            store.append(new.finish(1 / 3, metrics={"accuracy": 1 / 3, "flops": 1e9})),
            store.append(new.finish(-0.0, stopped=True)),
            store.append(new.fail("out of memory")),
        ]
        assert store.all() == added

    def test_append__every_kind_of_value__comes_back_exactly(
        self, store: TrialStore, space: SearchSpace
    ) -> None:
        points: list[dict[str, Value]] = [
            {"x": 0.1 / 3, "kind": "sgd", "momentum": 0.1 + 0.2, "layers": 8, "width": 16},
            {"x": 1e-6, "kind": None, "layers": 1, "width": 64},
        ]
        for point, bias in zip(points, (True, False), strict=True):
            store.append(Trial(number=0, params=space.validate({**point, "bias": bias}), study="s"))
        for trial, point, bias in zip(store.all(), points, (True, False), strict=True):
            assert trial.params == {**point, "bias": bias}
            assert list(trial.params) == [name for name in space if name in trial.params]
            assert [type(v) for v in trial.params.values()] == [
                type(v) for v in {**point, "bias": bias}.values()
            ]

    @pytest.mark.parametrize("outcome", ["completed", "stopped", "failed"])
    def test_update__pending_trial__takes_its_outcome(
        self, store: TrialStore, new: Trial, outcome: str
    ) -> None:
        store.append(new)
        trial = store.append(new)
        finished = {
            "completed": trial.finish(0.1, metrics={"accuracy": 0.1, "loss": 2.5}),
            "stopped": trial.finish(-1e300, stopped=True),
            "failed": replace(trial.fail("loss is nan"), metrics={"epoch": 3.0}),
        }[outcome]
        store.update(finished)
        assert store.all()[1] == finished
        assert store.all()[0].status is TrialStatus.PENDING

    def test_update__finished_trial__is_refused_and_unchanged(
        self, store: TrialStore, new: Trial
    ) -> None:
        trial = store.append(new)
        store.update(trial.finish(0.5))
        for again in (trial.finish(0.5), trial.finish(0.7, stopped=True), trial.fail("late")):
            with pytest.raises(TrialError, match=r"trial 0 .* before: completed with value 0\.5"):
                store.update(again)
        assert store.all() == [trial.finish(0.5)]

    def test_update__unknown_number__is_refused(self, store: TrialStore, new: Trial) -> None:
        with pytest.raises(TrialError, match="has no trial 3; it has no trials"):
            store.update(replace(new, number=3).finish(0.5))
        store.append(new)
        with pytest.raises(TrialError, match="has no trial 3; it has trials 0 to 0"):
            store.update(replace(new, number=3).finish(0.5))

    def test_all__result__belongs_to_the_caller(self, store: TrialStore, new: Trial) -> None:
        store.append(new)
        store.all().clear()
        assert len(store.all()) == 1


class TestMemoryStore(TrialStoreContract):
    @pytest.fixture
    def store(self, record: StudyRecord) -> TrialStore:
        return create_store(None, "s", record)


class TestOptunaObject(TrialStoreContract):
    @pytest.fixture
    def store(self, record: StudyRecord) -> TrialStore:
        return create_store(optuna.storages.InMemoryStorage(), "s", record)


class TestSqlite(TrialStoreContract):
    @pytest.fixture
    def store(self, sqlite: str, record: StudyRecord) -> TrialStore:
        return create_store(sqlite, "s", record)


class TestJournal(TrialStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, record: StudyRecord) -> TrialStore:
        return create_store(str(tmp_path / "s.log"), "s", record)


def test_study_record__to_dict__is_read_back(record: StudyRecord) -> None:
    full = replace(record, strategy="ts", model="/models/ours")
    assert StudyRecord.from_dict(full.to_dict()) == full
