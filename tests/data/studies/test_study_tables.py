"""The convention of study tables: what is written is read back, and what others write is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.study_tables import StudyTable, find_tables, write_trials
from optformer.data.studies.trials import Trial, TrialStatus

SPACE = SearchSpace(
    lr=Float(1e-4, 1.0, log=True),
    kind=Categorical(["sgd", "adam"]),
    momentum=Float(0.0, 1.0, when={"kind": ["sgd"]}),
)
NAMES = st.one_of(
    st.sampled_from(["value", "status", "number", "metrics.loss", "params.x", "x", "dataset"]),
    st.text(min_size=1, max_size=5).filter(lambda name: name.strip()),
)
CHOICES = st.lists(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-99, 99),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=4),
        st.sampled_from(["1", "True", "None", "", "[1]"]),
    ),
    min_size=2,
    max_size=4,
    unique_by=lambda choice: (isinstance(choice, bool), choice),
)


@st.composite
def studies(draw: st.DrawFn) -> tuple[StudyConfig, list[Trial]]:
    """Any space of up to three parameters, the last maybe conditional, and any history on it."""
    parameters: dict[str, Parameter] = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True)):
        low = draw(st.floats(-1e3, 1e3))
        parameters[name] = draw(
            st.one_of(
                st.just(Float(low, low + 7.5)),
                st.just(Float(1e-8, 1e3, log=True)),
                st.just(Int(-5, 5)),
                st.just(Int(0, 2**53)),
                st.builds(Ordinal, CHOICES),
                st.builds(Categorical, CHOICES),
            )
        )
    parent, above = next(iter(parameters.items()))
    if isinstance(above, Categorical | Ordinal) and "child" not in parameters:
        parameters["child"] = Int(0, 3, when={parent: [above.choices[0]]})
    metric = draw(st.sampled_from(["loss", "a b"]))
    config = StudyConfig(SearchSpace(parameters), metric, "minimize")
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    trials = []
    for number in range(draw(st.integers(1, 4))):
        trial = Trial(number, config.space.sample(rng), study="t")
        kind = draw(st.sampled_from(TrialStatus))
        if kind is TrialStatus.FAILED:
            trial = trial.fail(draw(st.text(min_size=1)))
        elif kind is not TrialStatus.PENDING:
            value = draw(numbers)
            metrics = {**draw(st.dictionaries(NAMES, numbers, max_size=1)), metric: value}
            trial = trial.finish(value, stopped=kind is TrialStatus.STOPPED, metrics=metrics)
        trials.append(trial)
    return config, trials


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@given(study=studies())
@settings(max_examples=60, deadline=None)
def test_write_trials__any_space_and_history__are_read_back(
    suffix: str, study: tuple[StudyConfig, list[Trial]]
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    config, trials = study
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        write_trials(path, config, trials)
        table = StudyTable(path)
        (read,), refused = table.studies(config.metric_name, "minimize")
    assert refused == {}
    assert read == RecordedStudy(
        "t", replace(config, metadata={"model": "t"}), tuple(trials), source="t", task="t"
    )


def write(folder: Path, text: str, suffix: str = ".csv", space: SearchSpace = SPACE) -> Path:
    path = folder / f"net{suffix}"
    path.write_text(text)
    save_space(space, folder / "net.space.yaml")
    return path


def read(path: Path, metric: str = "loss") -> list[tuple[dict[str, Any], float | None]]:
    (study,), refused = StudyTable(path).studies(metric, "minimize")
    assert refused == {}
    return [(dict(trial.params), trial.value) for trial in study.trials]


@pytest.mark.parametrize(
    ("header", "metric"),
    [
        ("lr,kind,momentum,loss", "loss"),
        ("lr,kind,momentum,metric.loss", "loss"),
        ("params.lr,params.kind,params.momentum,metrics.loss", "loss"),
        ("params.lr,params.kind,params.momentum,value", "value"),
        ("lr,kind,momentum,value", "loss"),  # whatever it is called
        ("params_lr,params_kind,params_momentum,value", "loss"),  # as Optuna writes
        ("config/lr,config/kind,config/momentum,loss", "loss"),  # as Ray does
    ],
)
def test_studies__any_form_of_columns__give_the_same_trials(
    tmp_path: Path, header: str, metric: str
) -> None:
    path = write(tmp_path, f"{header}\n0.1,sgd,0.5,3\n1,adam,,2.5\n")
    assert read(path, metric) == [
        ({"lr": 0.1, "kind": "sgd", "momentum": 0.5}, 3.0),
        ({"lr": 1.0, "kind": "adam"}, 2.5),
    ]


def test_studies__parameter_and_metric_of_one_name__are_told_apart_by_their_prefixes(
    tmp_path: Path,
) -> None:
    space = SearchSpace(loss=Categorical(["l1", "l2"]))
    path = write(tmp_path, "params.loss,metrics.loss\nl1,0.5\n", space=space)
    assert read(path) == [({"loss": "l1"}, 0.5)]
    path = write(tmp_path, "loss,value\nl1,0.5\n", space=space)
    with pytest.raises(DatasetError, match=r"no column of the metric 'loss'.*\['value'\]"):
        read(path)


def test_studies__column_value__is_no_metric_beside_named_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "lr,kind,momentum,value,metrics.acc\n0.1,adam,,3,0.5\n")
    assert read(path, "acc") == [({"lr": 0.1, "kind": "adam"}, 0.5)]
    assert read(path, "value") == [({"lr": 0.1, "kind": "adam"}, 3.0)]
    with pytest.raises(DatasetError, match=r"no column of the metric 'loss'.*metrics\.acc"):
        read(path)


def test_studies__statuses_reasons_and_metrics__are_those_written(tmp_path: Path) -> None:
    text = (
        "number,state,reason,lr,kind,metrics.loss,metrics.seconds\n"
        "3,PRUNED,,0.1,adam,4,60\n0,COMPLETE,,0.2,adam,1,nan\n1,FAIL,out of memory,0.3,adam,9,5\n"
        "2,RUNNING,,0.4,adam,,\n4,COMPLETE,,0.5,adam,inf,\n5,WAITING,,,,,\n"
    )
    (study,), _ = StudyTable(write(tmp_path, text)).studies("loss", "minimize")
    assert [trial.params["lr"] for trial in study.trials] == [0.2, 0.3, 0.4, 0.1, 0.5]
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]
    assert [trial.status.value for trial in study.trials] == [
        "completed",
        "failed",
        "pending",
        "stopped",
        "failed",
    ]
    assert [trial.reason for trial in study.trials] == [
        None,
        "out of memory",
        None,
        None,
        "no value was recorded",
    ]
    assert dict(study.trials[0].metrics) == {"loss": 1.0}
    assert dict(study.trials[3].metrics) == {"loss": 4.0, "seconds": 60.0}


def test_studies__rows_that_tell_nothing__are_ignored(tmp_path: Path) -> None:
    text = "lr,kind,momentum,loss\n0.1,adam,,3\n,,,\n0.2,,,\n0.3,adam,7,None\n0.4,sgd,,N/A\n"
    assert read(write(tmp_path, text)) == [
        ({"lr": 0.1, "kind": "adam"}, 3.0),
        ({"lr": 0.3, "kind": "adam"}, None),  # a value of an inactive parameter is none
    ]


def test_studies__conditional_parameter_without_a_column__is_inactive_or_missed(
    tmp_path: Path,
) -> None:
    assert read(write(tmp_path, "lr,kind,loss\n0.1,adam,3\n")) == [({"lr": 0.1, "kind": "adam"}, 3)]
    path = write(tmp_path, "lr,kind,loss\n0.1,adam,3\n0.1,sgd,3\n")
    studies, refused = StudyTable(path).studies("loss", "minimize")
    assert studies == []
    assert refused == {"net": "row 1: parameter 'momentum': expected a number, got an empty cell"}


def test_studies__illegal_row__leaves_its_study_out_by_name(tmp_path: Path) -> None:
    text = "dataset,lr,kind,loss\na,0.1,adam,3\nb,7,adam,3\nc,0.1,adam,high\nd,0.2,adam,4\n"
    studies, refused = StudyTable(write(tmp_path, text)).studies("loss", "minimize")
    assert [(study.name, study.task) for study in studies] == [("net/a", "a"), ("net/d", "d")]
    assert refused == {
        "net/b": "row 1: parameter 'lr': expected a float in [0.0001, 1.0], got 7",
        "net/c": "row 2: expected a number, got 'high'",
    }


@pytest.mark.parametrize(
    ("columns", "rows", "names"),
    [
        ("dataset,step", ["a,1", "a,0", "b,0"], {"net/a": [1, 0], "net/b": [2]}),
        (
            "dataset,run,step",
            ["a,0,1", "a,0,0", "a,1,0"],  # the steps repeat: the runs are studies
            {"net/a/0": [1, 0], "net/a/1": [2]},
        ),
        ("dataset,run", ["a,0", "a,1", "a,2"], {"net/a": [0, 1, 2]}),  # a run is a trial
        ("dataset,step", ["a,500", "a,500", "a,90"], {"net/a": [0, 1, 2]}),  # a budget
        ("study,number", ["s,2", "t,1", "s,1"], {"s": [2, 0], "t": [1]}),
        ("seed,trial", ["0,0", "1,0", "1,1"], {"net/0": [0], "net/1": [1, 2]}),
        ("note,seconds", ["x,1.5", "y,2.5"], {"net": [0, 1]}),
    ],
)
def test_studies__columns_that_name_and_order_them__tell_them_apart(
    tmp_path: Path, columns: str, rows: list[str], names: dict[str, list[int]]
) -> None:
    lines = [f"{columns},lr,kind,loss", *(f"{row},0.1,adam,{i}" for i, row in enumerate(rows))]
    studies, refused = StudyTable(write(tmp_path, "\n".join(lines))).studies("loss", "minimize")
    assert refused == {}
    assert {s.name: [int(t.value or 0) for t in s.trials] for s in studies} == names


def test_studies__parameters_called_like_other_columns__are_parameters(tmp_path: Path) -> None:
    space = SearchSpace(method=Categorical(["pso", "de"]), value=Int(1, 9), step=Int(1, 9))
    text = "method,value,step,loss,dataset\npso,3,2,0.5,a\nde,4,1,0.6,a\n"
    path = write(tmp_path, text, space=space)
    (study,), _ = StudyTable(path).studies("loss", "minimize")
    assert [dict(trial.params) for trial in study.trials] == [
        {"method": "pso", "value": 3, "step": 2},
        {"method": "de", "value": 4, "step": 1},
    ]
    assert study.method is None


def test_table__json_lines__read_native_values(tmp_path: Path) -> None:
    space = SearchSpace(layers=Categorical(["[64, 64]", "[32]"]), bias=Categorical([True, False]))
    rows = [{"layers": [64, 64], "bias": True, "loss": 1}, {"layers": [32], "bias": False}]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), ".jsonl", space)
    assert read(path) == [
        ({"layers": "[64, 64]", "bias": True}, 1.0),
        ({"layers": "[32]", "bias": False}, None),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_studies__data_frame_of_optuna__gives_its_trials(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("lr", 1e-4, 1.0, log=True)
        if trial.suggest_categorical("kind", ["sgd", "adam"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 1.0)
        trial.suggest_categorical("nesterov", [True, False])
        trial.set_user_attr("note", "a, b")
        if trial.number == 2:
            raise ValueError("diverged")
        return rate

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    theirs = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    theirs.optimize(objective, n_trials=8, catch=(ValueError,))
    theirs.ask()  # runs, and has no parameters yet
    path = tmp_path / f"net{suffix}"
    frame = theirs.trials_dataframe()
    if suffix == ".csv":
        frame.to_csv(path)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15, date_format="iso")
    else:
        frame.to_parquet(path)
    save_space(
        SearchSpace({**SPACE, "nesterov": Categorical([True, False])}), tmp_path / "net.space.yaml"
    )
    (study,), refused = StudyTable(path).studies("loss", "minimize")
    assert refused == {}
    assert [trial.status.value for trial in study.trials] == [
        "failed" if number == 2 else "completed" for number in range(8)
    ]
    for ours, frozen in zip(study.trials, theirs.trials, strict=False):
        assert ours.params == pytest.approx(frozen.params)
        assert ours.value == pytest.approx(frozen.value)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("lr,loss\n0.1,1\n", {}, "lacks the column 'kind'"),
        ("lr,kind,loss\n0.1,adam,1\n", {"task_column": "set"}, "lacks the column 'set'"),
        ("lr,kind,loss\n", {}, "holds no row"),
        ("lr,kind,loss\n,,\n", {}, "holds no row"),
        ("dataset,lr,kind,loss\n,0.1,adam,1\n", {}, "row 0: the task column dataset or task is"),
    ],
)
def test_table__that_does_not_fit__is_refused(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        StudyTable(write(tmp_path, text), **options)


def test_table__without_a_space_beside_it__says_which_file_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "lr,kind,loss\n0.1,adam,1\n")
    (tmp_path / "net.space.yaml").rename(tmp_path / "net.space.yml")
    assert StudyTable(path).space == SPACE
    (tmp_path / "net.space.yml").unlink()
    with pytest.raises(DatasetError, match=r"no search space beside it; write .*net\.space\.yaml"):
        StudyTable(path)


def test_studies__metric_or_goal_missing__say_how_to_give_them(tmp_path: Path) -> None:
    table = StudyTable(write(tmp_path, "lr,kind,loss\n0.1,adam,1\n"))
    with pytest.raises(ConfigError, match="say what it measures with --metric and --goal"):
        table.studies("loss")


CORPUS = """
- file: train/net
  role: {role}
  metric: seconds
  goal: minimize
  licence: MIT
  tasks:
    a: {{task: kernel tuning, model: gemm, dataset: card A, rows: 1}}
"""


@pytest.mark.parametrize("above", [True, False])
def test_studies__corpus_with_an_index__tells_metric_goal_and_metadata(
    tmp_path: Path, above: bool
) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    index = CORPUS.format(role="train")
    if above:
        (tmp_path / "corpus.yaml").write_text(index)
    else:
        (folder / "corpus.yaml").write_text(index.replace("train/net", "net"))
    path = write(folder, "dataset,lr,kind,value\na,0.1,adam,3\nb,0.1,adam,\n")
    table = StudyTable(path)
    table.check_trainable()
    studies, _ = table.studies()
    assert [study.config for study in studies] == [
        StudyConfig(SPACE, "seconds", "minimize", metadata)
        for metadata in (
            {"model": "gemm", "dataset": "card A", "task": "kernel tuning"},
            {"model": "net", "dataset": "b"},
        )
    ]
    assert studies[0].trials[0].value == 3.0
    with pytest.raises(DatasetError, match="no column of the metric 'second'"):
        table.studies("second", "minimize")


def test_check_trainable__table_to_choose_by__is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.yaml").write_text(CORPUS.replace("train/net", "net").format(role="dev"))
    table = StudyTable(write(tmp_path, "lr,kind,value\n0.1,adam,3\n"))
    with pytest.raises(DatasetError, match=r"net\.csv is there to choose by.*nothing may be"):
        table.check_trainable()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("- {file: net, metric: m, goal: up, role: train}", "goal must be one of"),
        ("- {file: net, metric: m, goal: minimize, role: test}", "role must be one of"),
        ("- {file: net, goal: minimize, role: dev}", "expected a metric"),
        ("- {metric: m}", "cannot read the index"),
        ("- [", "cannot read the index"),
    ],
)
def test_table__index_that_is_wrong__is_named(tmp_path: Path, index: str, message: str) -> None:
    (tmp_path / "corpus.yaml").write_text(index)
    with pytest.raises(DatasetError, match=rf"corpus\.yaml.*{message}|{message}.*corpus\.yaml"):
        StudyTable(write(tmp_path, "lr,kind,value\n0.1,adam,3\n"))


def test_find_tables__folder__lists_tables_alone(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "a.space.yaml", "team.studies.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_tables(tmp_path)] == ["a.jsonl", "b.csv"]
    with pytest.raises(ConfigError, match="no file or folder"):
        find_tables(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"notes\.txt holds no study table.*\.csv"):
        find_tables(tmp_path / "notes.txt")


def test_write_trials__other_suffix__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in one of .*'t\.xlsx'"):
        write_trials(tmp_path / "t.xlsx", StudyConfig(SPACE, "loss", "minimize"), [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"\n \r\n\nlr,kind,loss\n0.1,adam,1\n", 1.0),
        ("\ufefflr\tkind\tloss\n0.1\tadam\t1\n".encode("utf-16-le"), 1.0),
        ("lr,kind,loss\n0.1,adam,\u22121\n".encode(), -1.0),
    ],
)
def test_table__as_spreadsheets_write_it__is_read(
    tmp_path: Path, text: bytes, value: float
) -> None:
    path = write(tmp_path, "")
    path.write_bytes(text)
    assert read(path) == [({"lr": 0.1, "kind": "adam"}, value)]


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".csv", "lr,kind,loss,é\n0.1,adam,1,é\n".encode("latin-1"), "save it in UTF-8"),
        (".jsonl", b'{"lr": 0.1, "lr": 0.2, "kind": "adam", "loss": 1}', "'lr'"),
        (".jsonl", b'{"lr": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_table__that_cannot_be_told__is_refused(
    tmp_path: Path, suffix: str, text: bytes, message: str
) -> None:
    path = write(tmp_path, "").with_suffix(suffix)
    path.write_bytes(text)
    with pytest.raises(DatasetError, match=message):
        StudyTable(path)


def test_studies__number_with_underscores__is_none(tmp_path: Path) -> None:
    studies, refused = StudyTable(write(tmp_path, "lr,kind,loss\n0.1,adam,1_0\n")).studies(
        "loss", "minimize"
    )
    assert studies == []
    assert "expected a number, got '1_0'" in str(refused)
