"""OptFormer as a search of scikit-learn."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from joblib import parallel_config
from scipy.stats import loguniform, randint
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import GroupKFold, RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import optformer as of
from optformer.data.studies.errors import ConfigError, SearchSpaceError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.planner import Planner
from optformer.serving.integrations.sklearn_metadata import told_metric, told_task

X, Y = load_iris(return_X_y=True)
CHECKED = [
    of.OptFormerSearchCV(model, grid, n_iter=count, cv=2, error_score="raise", random_state=0)
    for model, grid, count in (
        (LogisticRegression(), {"C": [0.1, 1.0]}, 1),
        (Ridge(), {"alpha": [0.1, 1.0]}, 2),
    )
]
Asked = list[tuple[StudyConfig, list[Trial]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Study and history of every suggestion."""
    calls: Asked = []
    suggest = Planner.suggest

    def recorded(self: Planner, config: StudyConfig, history: Any, *args: Any, **kw: Any) -> Any:
        calls.append((config, list(history)))
        return suggest(self, config, history, *args, **kw)

    monkeypatch.setattr(Planner, "suggest", recorded)
    return calls


class Picky(ClassifierMixin, BaseEstimator):
    """Fits where `x` is below a half."""

    def __init__(self, x: float = 0.0) -> None:
        self.x = x

    def fit(self, X: Any, y: Any) -> Picky:  # noqa: N803
        if self.x >= 0.5:
            raise RuntimeError("too much")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.full(len(X), self.classes_[0])


@parametrize_with_checks(
    CHECKED,
    expected_failed_checks=lambda search: (
        {"check_supervised_y_2d": "scikit-learn's own searches give no DataConversionWarning, too"}
        if isinstance(search.estimator, Ridge)
        else {}
    ),
)
def test_search__scikit_learns_own_checks__pass(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


def test_results__beside_random_search__have_the_same_columns() -> None:
    settings: dict[str, Any] = {
        "n_iter": 3,
        "cv": 3,
        "scoring": ["accuracy", "neg_log_loss"],
        "refit": "neg_log_loss",
        "return_train_score": True,
        "random_state": 0,
    }
    ranges = {"logisticregression__C": loguniform(1e-3, 1e3)}
    model = make_pipeline(StandardScaler(), LogisticRegression())
    ours = of.OptFormerSearchCV(model, ranges, **settings).fit(X, Y)
    theirs = RandomizedSearchCV(model, ranges, **settings).fit(X, Y)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    assert len(ours.cv_results_["params"]) == 3
    assert set(vars(theirs)) <= set(vars(ours))
    assert ours.best_score_ == max(ours.cv_results_["mean_test_neg_log_loss"])
    assert ours.best_params_["logisticregression__C"] == ours.best_estimator_[-1].C


def test_search__same_seed__finds_the_same_and_survives_cloning_and_pickling() -> None:
    search = of.OptFormerSearchCV(
        KNeighborsClassifier(), {"n_neighbors": randint(1, 50)}, n_iter=4, cv=3, random_state=5
    )
    search.set_params(n_iter=3)
    one, two = clone(search).fit(X, Y), search.fit(X, Y)
    assert one.cv_results_["params"] == two.cv_results_["params"]
    assert len(one.cv_results_["params"]) == 3
    restored = pickle.loads(pickle.dumps(one))
    assert np.array_equal(restored.predict(X), one.predict(X))


def test_search__pipeline__tells_the_model_what_it_has_learned(asked: Asked) -> None:
    labels = np.array(["setosa", "versicolor", "virginica"])[Y]
    of.OptFormerSearchCV(
        make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
        {
            "decisiontreeclassifier__max_depth": randint(1, 10),
            "standardscaler__with_mean": [True, False],
        },
        n_iter=1,
        scoring="neg_log_loss",
        metadata={"dataset": "iris"},
    ).fit(X, labels)
    config, _ = asked[0]
    assert list(config.space) == ["max_depth", "standardscaler__with_mean"]
    assert (config.metric, config.goal) == ("log_loss", "minimize")
    assert config.metadata == {
        "task": "classification",
        "model": "decision tree",
        "dataset size": "150 examples, 4 features, 3 classes",
        "classes": "setosa, versicolor, virginica",
        "dataset": "iris",
    }


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (LinearRegression(), "linear regression"),
        (HistGradientBoostingRegressor(), "histogram gradient boosting"),
        (make_pipeline(StandardScaler(), make_pipeline(SVC())), "support vector machine"),
        (TransformedTargetRegressor(RidgeCV()), "ridge regression"),
        (Picky(), "picky"),
    ],
)
def test_told_task__an_estimator__has_the_name_that_an_engineer_would_write(
    model: BaseEstimator, name: str
) -> None:
    assert told_task(model, X, Y)["model"] == name


@pytest.mark.parametrize(
    ("scoring", "expected"),
    [
        ("neg_root_mean_squared_error", ("rmse", "minimize", -1.0)),
        ("neg_mean_absolute_error", ("mae", "minimize", -1.0)),
        ("roc_auc", ("roc_auc", "maximize", 1.0)),
        (make_scorer(log_loss, greater_is_better=False), ("log_loss", "minimize", -1.0)),
        (make_scorer(accuracy_score), ("accuracy", "maximize", 1.0)),
        (None, ("r2", "maximize", 1.0)),
        (lambda model, inputs, targets: 0.0, ("lambda", "maximize", 1.0)),
    ],
)
def test_told_metric__a_score__is_the_metric_behind_it(scoring: Any, expected: Any) -> None:
    assert told_metric(scoring, Ridge()) == expected


def test_search__values_of_a_minimized_metric__have_their_own_sign(asked: Asked) -> None:
    search = of.OptFormerSearchCV(
        GaussianNB(),
        {"var_smoothing": loguniform(1e-9, 1)},
        n_iter=2,
        scoring="neg_log_loss",
        random_state=0,
    ).fit(X, Y)
    (trial,) = asked[1][1]
    assert trial.value == -search.cv_results_["mean_test_score"][0]


@pytest.mark.parametrize("error_score", [np.nan, -1.0])
def test_search__failed_fits__are_failures_to_the_model_and_rows(
    asked: Asked, error_score: float
) -> None:
    search = of.OptFormerSearchCV(
        Picky(), {"x": [0.1, 0.6, 0.7, 0.8]}, n_iter=4, error_score=error_score, random_state=1
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, Y)
    _, history = asked[-1]
    told = {trial.params["x"]: trial.status for trial in history}
    assert {told.get(x, TrialStatus.FAILED) for x in (0.6, 0.7, 0.8)} == {TrialStatus.FAILED}
    results = search.cv_results_
    assert sorted(params["x"] for params in results["params"]) == [0.1, 0.6, 0.7, 0.8]
    assert [params["x"] for params in results["params"]][: len(history)] == [
        trial.params["x"] for trial in history
    ]
    assert search.best_params_ == {"x": 0.1}
    worst = [
        s
        for p, s in zip(results["params"], results["mean_test_score"], strict=True)
        if p["x"] > 0.5
    ]
    assert np.array_equal(worst, [error_score] * 3, equal_nan=True)
    assert any(warning.category is FitFailedWarning for warning in caught)


def test_search__every_fit_fails__raises_as_scikit_learn_does() -> None:
    search = of.OptFormerSearchCV(Picky(), {"x": [0.6, 0.7]}, n_iter=2)
    with pytest.warns(FitFailedWarning), pytest.raises(ValueError, match="fits failed"):
        search.fit(X, Y)
    with pytest.raises(RuntimeError, match="too much"):
        search.set_params(error_score="raise").fit(X, Y)


def test_search__conditions__reach_the_estimator() -> None:
    space = of.SearchSpace(
        kernel=of.Categorical(["linear", "rbf"]),
        gamma=of.Float(1e-3, 1.0, log=True, when={"kernel": ["rbf"]}),
    )
    listed = [{"kernel": ["linear"]}, {"kernel": ["rbf"], "gamma": loguniform(1e-3, 1.0)}]
    ours, theirs = (
        of.OptFormerSearchCV(SVC(), ranges, n_iter=5, random_state=0).fit(X, Y)
        for ranges in (space, listed)
    )
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    assert ours.space_ == theirs.space_ == space
    for params in ours.cv_results_["params"]:
        assert ("gamma" in params) == (params["kernel"] == "rbf")


def test_search__choices_that_are_objects__are_set_as_they_were_given() -> None:
    search = of.OptFormerSearchCV(
        make_pipeline(StandardScaler(), GaussianNB()),
        {"standardscaler": ["passthrough", StandardScaler(with_mean=False), StandardScaler()]},
        n_iter=10,
        random_state=0,
    )
    with pytest.warns(UserWarning, match="3 points, fewer than n_iter=10"):
        search.fit(X, Y)
    tried = [params["standardscaler"] for params in search.cv_results_["params"]]
    assert len(tried) == 3
    assert {type(step) for step in tried} == {str, StandardScaler}


def test_search__batches__are_as_large_as_asked(asked: Asked) -> None:
    search = of.OptFormerSearchCV(
        GaussianNB(), {"var_smoothing": loguniform(1e-9, 1)}, n_iter=5, n_jobs=2, random_state=0
    )
    with parallel_config(backend="threading"):  # which starts at once
        search.fit(X, Y)
    assert [len(history) for _, history in asked] == [0, 2, 4]
    assert len({params["var_smoothing"] for params in search.cv_results_["params"]}) == 5
    asked.clear()
    search.set_params(batch_size=3, n_jobs=None).fit(X, Y)
    assert [len(history) for _, history in asked] == [0, 3]


def test_search__groups_and_weights__go_where_scikit_learn_sends_them() -> None:
    groups = np.arange(len(X)) % 3
    search = of.OptFormerSearchCV(
        GaussianNB(), {"var_smoothing": [1e-9, 1.0]}, n_iter=1, cv=GroupKFold(3)
    )
    assert search.fit(X, Y, groups=groups, sample_weight=np.ones(len(X))).n_splits_ == 3
    with config_context(enable_metadata_routing=True):
        model = GaussianNB().set_fit_request(sample_weight=True)
        search.set_params(estimator=model.set_score_request(sample_weight=True))
        search.fit(X, Y, groups=groups, sample_weight=np.ones(len(X)))
        assert search.best_estimator_.class_count_.sum() == len(X)


def test_search__state_of_numpy__stays_as_it_was() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    of.OptFormerSearchCV(GaussianNB(), {"var_smoothing": loguniform(1e-9, 1)}, n_iter=1).fit(X, Y)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"param_distributions": {"strategy": 3}}, SearchSpaceError, "^strategy: expected a list"),
        ({"param_distributions": {"strategy": []}}, SearchSpaceError, "^strategy: choices must"),
        ({"param_distributions": {"nope": [1, 2]}}, ValueError, "Invalid parameter 'nope'"),
        (
            {"param_distributions": [{"strategy": ["prior"]}, {"strategy": ["prior"]}]},
            SearchSpaceError,
            "no parameter tells the 2 alternatives apart",
        ),
        ({"scoring": ["accuracy", "f1_macro"], "refit": False}, ConfigError, "refit must name"),
        ({"n_iter": 0}, ValueError, "'n_iter' parameter"),
        ({"batch_size": 0}, ConfigError, "batch_size must be at least 1"),
        ({"metadata": "iris"}, ValueError, "'metadata' parameter"),
    ],
)
def test_search__bad_settings__are_refused_by_name(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    usual = {"estimator": DummyClassifier(), "param_distributions": {"strategy": ["prior"]}}
    with pytest.raises(error, match=message):
        of.OptFormerSearchCV(**{**usual, **settings}).fit(X, Y)
