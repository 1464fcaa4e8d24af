from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from optformer.data.studies.errors import ConfigError, StorageError
from optformer.data.studies.parameters import Float
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
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
    assert "2 objectives" in refused["two"]

    file = tmp_path / "team.studies.jsonl"
    write_studies(file, [ours, theirs])
    assert read_study_logs(str(file)) == ([ours, theirs], {})


def test_read_study_logs__table__is_a_study_for_each_data_set(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("x,acc,dataset\n0.1,0.5,a\n0.2,,a\n0.3,0.7,b\n")
    save_space(SPACE, tmp_path / "net.space.yaml")
    (a, b), refused = read_study_logs(str(tmp_path / "net.csv"), metric="acc", goal="maximize")
    assert [trial.status for trial in a.trials] == [TrialStatus.COMPLETED, TrialStatus.FAILED]
    assert (b.config.metadata["dataset"], len(b.trials), refused) == ("b", 1, {})
    with pytest.raises(ConfigError, match="say what they measure with --metric and --goal"):
        read_study_logs(str(tmp_path / "net.csv"))


def test_read_study_logs__nothing_there__is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no file .*none\.db"):
        read_study_logs(f"sqlite:///{tmp_path}/none.db")
    assert not any(tmp_path.iterdir())
