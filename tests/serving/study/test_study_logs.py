from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from optformer.data.studies.errors import ConfigError, DatasetError, StorageError
from optformer.data.studies.parameters import Float
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal
from optformer.data.studies.study_files import write_studies
from optformer.data.studies.trials import TrialStatus
from optformer.serving.study.study import create_study
from optformer.serving.study.study_logs import read_study_logs

SPACE = SearchSpace(x=Float(0.0, 1.0))


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A study of Optuna's, one of ours, and one with two objectives."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{tmp_path}/studies.db"
    theirs = optuna.create_study(storage=url, study_name="theirs", direction="maximize")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    optuna.create_study(storage=url, study_name="two", directions=["maximize", "minimize"])
    ours = create_study(
        SPACE, metric="loss", goal="minimize", metadata={"task": "toy"}, storage=url, name="ours"
    )
    theirs = optuna.load_study(storage=url, study_name=ours.name)
    theirs.enqueue_trial({"x": 0.25})
    theirs.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=1)
    return url


def test_read_study_logs__database__gives_its_studies_and_what_is_wrong_with_others(
    database: str, tmp_path: Path
) -> None:
    (ours, theirs), refused = read_study_logs(database)
    assert (ours.name, ours.config.metric, ours.config.metadata) == (
        "ours",
        "loss",
        {"task": "toy"},
    )
    assert [(trial.params, trial.value) for trial in ours.trials] == [({"x": 0.25}, 0.25)]
    assert (theirs.config.goal, len(theirs.trials)) == ("maximize", 3)
    assert list(refused) == ["two"]
    assert "its search space is unknown" in refused["two"]

    file = tmp_path / "team.studies.jsonl"
    write_studies(file, [ours, theirs])
    assert read_study_logs(str(file)) == ([ours, theirs], {})


def test_read_study_logs__several_goals_and_a_limit__a_study_of_each_metric(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/s.db"
    goals: dict[str, Goal] = {"loss": "minimize", "speed": "maximize"}
    ours = create_study(SPACE, metrics=goals, limits={"size": "<= 2"}, storage=address, name="s")
    ours.observe({"x": 0.5}, {"loss": 0.1, "speed": 7, "size": 3, "other": 1})
    ours.observe({"x": 0.6}, failed="out of memory")
    studies, refused = read_study_logs(address)
    assert not refused
    assert [(study.name, study.config.goal) for study in studies] == [
        ("s/loss", "minimize"),
        ("s/speed", "maximize"),
        ("s/size", "minimize"),
    ]
    values = [[trial.value for trial in study.trials] for study in studies]
    assert values == [[0.1, None], [7.0, None], [3.0, None]]


def test_read_study_logs__table__is_a_study_for_each_data_set(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("x,acc,dataset\n0.1,0.5,a\n0.2,,a\n0.3,0.7,b\n")
    save_space(SPACE, tmp_path / "net.space.yaml")
    (a, b), refused = read_study_logs(str(tmp_path / "net.csv"), metric="acc", goal="maximize")
    assert [trial.status for trial in a.trials] == [TrialStatus.COMPLETED, TrialStatus.FAILED]
    assert (b.config.metadata["dataset"], len(b.trials), refused) == ("b", 1, {})
    with pytest.raises(ConfigError, match="say what it measures with --metric and --goal"):
        read_study_logs(str(tmp_path / "net.csv"))


def test_read_study_logs__folder_of_tables__names_those_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    for name, text in (
        ("good", "x,acc\n0.1,0.5\n"),
        ("other", "y,acc\n0.1,0.5\n"),
        ("shifted", "x,acc\n0.1,0.5,9\n"),
        ("far", "dataset,x,acc\na,7,0.5\nb,0.7,0.5\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        save_space(SPACE, tmp_path / f"{name}.space.yaml")
    (tmp_path / "lonely.csv").write_text("x,acc\n0.1,0.5\n")
    studies, refused = read_study_logs(str(tmp_path), metric="acc", goal="maximize")
    assert [study.name for study in studies] == ["far/b", "good"]
    assert list(refused) == ["far/a", "lonely.csv", "other.csv", "shifted.csv"]
    assert "expected a float in [0.0, 1.0], got 7" in refused["far/a"]
    assert "lacks the column 'x'" in refused["other.csv"]
    with pytest.raises(DatasetError, match="line 2 has 3 cells, not 2"):
        read_study_logs(str(tmp_path / "shifted.csv"), metric="acc", goal="maximize")


def test_read_study_logs__table_to_choose_by__is_not_for_training(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("x,value\n0.1,0.5\n")
    save_space(SPACE, tmp_path / "net.space.yaml")
    (tmp_path / "corpus.yaml").write_text("- {file: net, metric: acc, goal: maximize, role: dev}\n")
    (study,), _ = read_study_logs(str(tmp_path))
    assert (study.config.metric, study.trials[0].value) == ("acc", 0.5)
    studies, refused = read_study_logs(str(tmp_path), training=True)
    assert studies == []
    assert "nothing may be trained on it" in refused["net.csv"]


def test_read_study_logs__database_without_its_scheme__says_the_address(
    database: str, tmp_path: Path
) -> None:
    path = tmp_path / "studies.db"
    assert database == f"sqlite:///{path}"
    with pytest.raises(ConfigError, match=f"is a database: write {database}"):
        read_study_logs(str(path))


@pytest.mark.parametrize("odd", ["tuple", "bigint", "attribute"])
def test_read_study_logs__odd_study__is_left_out_or_read_and_ends_nothing(
    tmp_path: Path, odd: str
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{tmp_path}/odd.db"
    for name in ("a", "b"):
        study = optuna.create_study(storage=url, study_name=name)
        trial = study.ask()
        if name == "b" and odd == "tuple":
            with pytest.warns(UserWarning, match="persistent storage"):
                trial.suggest_categorical("layers", [(64,), (64, 64)])
        if name == "b" and odd == "bigint":
            trial.suggest_int("m", 1, 2**60, log=True)
        if name == "b" and odd == "attribute":
            trial.set_user_attr("combinations", 10**400)
        study.tell(trial, trial.suggest_float("x", 0, 1))
    studies, refused = read_study_logs(url)
    expected = ["a", "b"] if odd == "attribute" else ["a"]
    assert [study.name for study in studies] == expected
    assert [*expected, *refused] == ["a", "b"]


def test_read_study_logs__nothing_there__is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no file .*none\.db"):
        read_study_logs(f"sqlite:///{tmp_path}/none.db")
    assert not any(tmp_path.iterdir())
