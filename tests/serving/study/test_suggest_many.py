"""Many studies at once: each suggests what it would suggest alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from optformer.data.studies.errors import SpaceExhaustedError, StudyError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.spaces import SearchSpace
from optformer.serving.study.study import Study, create_study, suggest_many

SPACES = {
    "ei": SearchSpace(lr=Float(1e-5, 1e-1, log=True), layers=Int(1, 8)),
    "ucb": SearchSpace(
        kind=Categorical(["sgd", "adam"]), momentum=Float(0.0, 0.99, when={"kind": ["sgd"]})
    ),
    "optimum": SearchSpace(depth=Int(2, 12), share=Float(0.1, 1.0), bins=Int(16, 255)),
}


def studies(storage: str | None = None) -> list[Study]:
    made = []
    for trials, (strategy, space) in zip((24, 4, 0), SPACES.items(), strict=True):
        study = create_study(
            space,
            metric="loss",
            goal="minimize",
            strategy=strategy,
            seed=trials,
            storage=storage,
            name=strategy,
        )
        rng = np.random.default_rng(trials)
        for number in range(trials):
            failed = "out of memory" if number % 7 == 3 else None
            value = None if failed else float(rng.random())
            study.observe(space.sample(rng), value, failed=failed)
        made.append(study)
    return made


def test_suggest_many__shipped_model__suggests_the_same_as_one_by_one(sqlite: str) -> None:
    together, alone = studies(sqlite), studies()  # those of one file share their turn
    enqueued = {"depth": 3, "share": 0.5, "bins": 20}
    together[2].enqueue(enqueued)
    alone[2].enqueue(enqueued)
    for _ in range(2):
        trials = suggest_many([*together, together[0]])  # the last plan does not hold any more
        expected = [study.suggest() for study in [*alone, alone[0]]]
        assert [t.params for t in trials] == [t.params for t in expected]
        assert [t.explanation for t in trials] == [t.explanation for t in expected]
        assert [t.number for t in trials] == [t.number for t in expected]
        trials[1].report(0.5, 0)  # a trial of these is one like any other
        together[0].observe(trials[0], 0.25)
        alone[0].observe(expected[0], 0.25)


def test_suggest_many__own_planners__are_asked(make_study: Callable[..., Study]) -> None:
    together = [make_study(seed=seed) for seed in range(3)]
    alone = [make_study(seed=seed) for seed in range(3)]
    expected = [study.suggest().params for study in alone]
    assert [trial.params for trial in suggest_many(together)] == expected
    assert suggest_many([]) == []


def test_suggest_many__no_points_left__says_so_after_those_before() -> None:
    space = SearchSpace(kind=Categorical(["a"]))
    first, full = (create_study(space, metric="loss", goal="minimize", seed=0) for _ in range(2))
    full.observe({"kind": "a"}, 1.0)
    with pytest.raises(SpaceExhaustedError, match="the one point of this space has been tried"):
        suggest_many([first, full])
    assert [trial.params for trial in first.trials] == [{"kind": "a"}]


@pytest.mark.parametrize("wrong", ["abc", 3, [None]])
def test_suggest_many__no_studies__is_refused(wrong: object) -> None:
    with pytest.raises(StudyError, match="needs a list of studies"):
        suggest_many(wrong)  # type: ignore[arg-type]
