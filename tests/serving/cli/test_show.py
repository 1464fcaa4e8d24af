from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from optformer.data.studies.limits import Limit
from optformer.data.studies.study_tables import StudyTable
from optformer.serving.cli import main
from optformer.serving.study.study import Study, load_study


@pytest.fixture
def storage(tmp_path: Path, make_study: Callable[..., Study]) -> str:
    """A storage with the study `one`: 3 completed, 1 failed and 1 pending trial."""
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    study = make_study(
        storage=address, name="one", metadata={"dataset": "cifar"}, fixed={"layers": 2}
    )
    for value in (0.25, 0.75, 0.5):
        study.observe(study.suggest(), value)
    study.observe(study.suggest(), failed="out of memory")
    study.suggest()
    return address


def test_show__one_study__told_in_full(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--storage", storage, "--top", "2"]) == 0
    out = capsys.readouterr().out
    for text in (
        "maximize accuracy",
        "metadata: dataset  cifar",
        "fixed: layers      2",
        "1e-06 to 0.1, log",
        "kind in ['sgd']",
        "learning rate",
        "study one: 1 pending, 3 completed, 1 failed",
        "failed once: out of memory",
        "best accuracy: 0.75 (trial 1)",
    ):
        assert text in out
    ranking = out[out.index("trial  accuracy") :].splitlines()[2:]
    assert [line.split()[:2] for line in ranking] == [["1", "0.75"], ["2", "0.5"]]


def test_show__several_goals_and_a_limit__tells_the_front(
    tmp_path: Path, make_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    further, limits = {"latency": "minimize"}, {"memory": Limit("<=", 8)}
    study = make_study(storage=address, name="one", further_goals=further, limits=limits)
    for accuracy, latency, memory in ((0.9, 9, 4), (0.8, 3, 4), (0.7, 5, 8), (0.95, 2, 9)):
        metrics = {"accuracy": accuracy, "latency": latency, "memory": memory}
        study.observe(study.suggest(), metrics)
    picture = tmp_path / "front.svg"
    assert main(["show", "--storage", address, "--front", str(picture)]) == 0
    out = capsys.readouterr().out
    for text in (
        "maximize accuracy",
        "minimize latency",
        "memory <= 8.0",
        "3 of 4 completed trials keep the limits",
        "Pareto front: 2 trials, hypervolume 0.6 from the worst values",
    ):
        assert text in out
    ranking = out[out.index("trial  accuracy") :].splitlines()[2:4]
    assert [line.split()[:3] for line in ranking] == [["0", "0.9", "9"], ["1", "0.8", "3"]]
    assert picture.stat().st_size > 1000
    make_study(storage=address, name="two")
    assert main(["show", "--storage", address]) == 0
    assert "2 on the front" in capsys.readouterr().out


def test_show__several_studies__listed_other_tools_too(
    storage: str, make_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(storage=storage, name="two", goal="minimize", metric="loss")
    optuna.create_study(storage=storage, study_name="three", directions=["minimize", "maximize"])
    assert main(["show", "--storage", storage]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["one"].split()[1:] == ["5", "3", "1", "maximize", "accuracy", "0.75"]
    assert lines["two"].split()[1:] == ["0", "0", "0", "minimize", "loss"]
    assert "its search space is unknown" in lines["three"]
    assert main(["show", "--storage", storage, "--name", "two"]) == 0
    assert "study two: no trials" in capsys.readouterr().out


def test_show__files__written(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, plot = tmp_path / "trials.csv", tmp_path / "history.png"
    assert main(["show", "--storage", storage, "--csv", str(table), "--plot", str(plot)]) == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["0.25", "0.75", "0.5", "", ""]
    assert {row["params.layers"] for row in rows} == {"2"}
    (study,), _ = StudyTable(table).studies("accuracy", "maximize")
    stored = load_study(storage=storage, name="one")
    assert [(trial.params, trial.value, trial.status) for trial in study.trials] == [
        (trial.params, trial.value, trial.status) for trial in stored.trials
    ]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "none"], "there is no study 'none'"),
        (["--csv", "studies.db/x.csv"], "studies.db/x.csv"),
        (["--csv", "x.xlsx"], "a study table must end in one of"),
        (["--plot", "/no/such/dir/x.png"], "/no/such/dir"),
        (["--plot", "x.nonsense"], "nonsense"),
        (["--response", "depth", "x.png"], "unknown parameter 'depth'"),
        (["--storage", "sqlite:///missing.db"], "there is no file missing.db"),
        (["--storage", "missing.journal"], "there is no file missing.journal"),
    ],
)
def test_show__fault_of_the_user__exit_status_2(
    storage: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", "--storage", storage, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "missing.db").exists()


def test_show__files_of_several_studies__need_a_name(
    storage: str, make_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(storage=storage, name="two")
    assert main(["show", "--storage", storage, "--csv", "x.csv"]) == 2
    assert "need --name" in capsys.readouterr().err


def test_show__server__told_as_a_storage_is(
    make_served_study: Callable[..., Study], server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        study = make_served_study(name=name)
        study.observe(study.suggest(), 0.75)
    assert main(["show", "--storage", server.url]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["two"].split()[1:] == ["1", "1", "0", "maximize", "accuracy", "0.75"]
    assert main(["show", "--storage", server.url, "--name", "two"]) == 0
    assert "best accuracy: 0.75 (trial 0)" in capsys.readouterr().out
    assert main(["show", "--storage", server.url, "--name", "three"]) == 2
    assert "there is no study 'three'; this server has ['one', 'two']" in capsys.readouterr().err
