"""Generated histories: what workers, interruptions and damage may not change."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from optformer.data.corpora.generation import (
    GenerationConfig,
    GenerationSummary,
    generate,
    load_histories,
    sources,
)
from optformer.data.corpora.generation.shards import find_shards, read_manifest
from optformer.data.corpora.generation.studies import StudyKey, run_study
from optformer.data.methods import METHODS as REGISTRY
from optformer.data.methods import create
from optformer.data.objectives.sklearn_families import PAIRS
from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.trials import TrialStatus

METHODS, OBJECTIVES = ["random", "regularized-evolution"], ["naive-bayes-ir*", "splines-phase"]


def config(out: Path, **changes: Any) -> GenerationConfig:
    settings: dict[str, Any] = {"methods": METHODS, "objectives": OBJECTIVES, "trials": 4}
    return GenerationConfig(out=out, **{**settings, **changes})


def contents(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Every shard's rows, but for the seconds: time is all that may differ."""
    return {
        str(path.relative_to(out)): parquet.read_table(path).drop(["seconds"]).to_pylist()
        for path in find_shards(out)
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four studies of one worker."""
    out = tmp_path_factory.mktemp("reference")
    assert generate(config(out)).finished == 4
    return out


@pytest.fixture
def copy(reference: Path, tmp_path: Path) -> Path:
    shutil.copytree(reference, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def kill_workers() -> Callable[[int], threading.Thread]:
    """Kills the first so many worker processes as they appear."""

    def kill_workers(count: int) -> threading.Thread:
        before = set(multiprocessing.active_children())

        def watch() -> None:
            killed: set[Any] = set()
            deadline = time.monotonic() + 120
            while len(killed) < count and time.monotonic() < deadline:
                for child in set(multiprocessing.active_children()) - killed - before:
                    if len(killed) < count and child.pid is not None:
                        os.kill(child.pid, signal.SIGKILL)
                        killed.add(child)
                time.sleep(0.02)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    return kill_workers


def test_generate__worker_killed_once__same_histories_as_one_worker(
    reference: Path, tmp_path: Path, kill_workers: Callable[[int], threading.Thread]
) -> None:
    killer = kill_workers(1)  # a second kill could hit the second attempt
    summary = generate(config(tmp_path, workers=2))
    killer.join()
    assert summary == GenerationSummary(finished=4, skipped=0, failed={}, left_out=[])
    assert contents(tmp_path) == contents(reference)
    assert read_manifest(tmp_path) == read_manifest(reference)


def test_generate__worker_killed_twice__reported_by_name(
    tmp_path: Path, kill_workers: Callable[[int], threading.Thread]
) -> None:
    killer = kill_workers(2)
    summary = generate(config(tmp_path, methods=["random"], objectives=["naive-bayes-iris"]))
    killer.join()
    assert list(summary.failed) == ["naive-bayes-iris/random/0"]
    assert "BrokenProcessPool" in summary.failed["naive-bayes-iris/random/0"]
    assert not find_shards(tmp_path)


def test_generate__shard_deleted__only_that_one_comes_back(reference: Path, copy: Path) -> None:
    first, *rest = find_shards(copy)
    times = {path: path.stat().st_mtime_ns for path in rest}
    first.unlink()
    summary = generate(config(copy))
    assert (summary.finished, summary.skipped) == (1, 3)
    assert {path: path.stat().st_mtime_ns for path in rest} == times
    assert contents(copy) == contents(reference)
    assert read_manifest(copy) == read_manifest(reference)


def test_manifest__of_a_folder__says_what_it_holds(reference: Path) -> None:
    manifest = read_manifest(reference)
    assert manifest is not None
    assert manifest["counts"] == {"studies": 4, "trials": 16, "completed": 16}
    assert (manifest["methods"], manifest["seeds"]) == (METHODS, [0])
    assert manifest["objectives"] == {"naive-bayes-iris": "sklearn", "splines-phase": "sklearn"}
    assert {"optformer", "scikit-learn", "numpy", "optuna"} <= manifest["versions"].keys()
    assert [line.split(":")[0] for line in manifest["licences"]] == ["iris", "phase"]


def test_load_histories__of_a_folder__gives_studies_as_they_were_played(reference: Path) -> None:
    histories = list(load_histories(reference))
    assert [history.name for history in histories] == [
        f"{objective}/{method}/0"
        for objective in ("naive-bayes-iris", "splines-phase")
        for method in METHODS
    ]
    history = histories[1]
    assert history.config == sources.load_objective("naive-bayes-iris").config
    assert (history.task, history.method) == ("naive-bayes-iris", METHODS[1])
    key = StudyKey("naive-bayes-iris", METHODS[1], 0)
    played = [trial for trial, _ in run_study(key, 4)]
    assert [(t.number, t.params, t.value) for t in history.trials] == [
        (t.number, t.params, t.value) for t in played
    ]
    assert all(trial.metrics["seconds"] > 0 for trial in history.trials)


@pytest.mark.parametrize("damage", ["half", "a byte", "format"])
def test_load_histories__damaged_shard__is_named(copy: Path, damage: str) -> None:
    shard = find_shards(copy)[2]
    if damage == "format":
        table = parquet.read_table(shard)
        parquet.write_table(
            table.replace_schema_metadata({"optformer.histories.format": "2"}), shard
        )
    else:
        content = bytearray(shard.read_bytes())
        content[len(content) // 4] ^= 0xFF
        shard.write_bytes(content if damage == "a byte" else content[: len(content) // 2])
    with pytest.raises(DatasetError, match="splines-phase/random/seed-0") as caught:
        load_histories(copy)
    assert ("format version is 2" in str(caught.value)) == (damage == "format")
    with pytest.raises(DatasetError, match="splines-phase/random/seed-0"):
        generate(config(copy))


def test_load_histories__shard_of_another_study__is_refused(copy: Path) -> None:
    first, second, *_ = sorted((copy / "studies").rglob("*.parquet"))
    first.write_bytes(second.read_bytes())
    with pytest.raises(DatasetError, match=f"{first}.* holds study .*a file of its own"):
        load_histories(copy)


def test_load_histories__no_histories_or_another_format__are_refused(
    copy: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="holds no histories"):
        load_histories(tmp_path / "nowhere")
    (copy / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(DatasetError, match=r"manifest.json.*format version is 99"):
        load_histories(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["rondom"]}, r"unknown search method 'rondom'; known are .*'gp-ei'"),
        ({"methods": ["random", "random"]}, "'random' is given twice"),
        ({"objectives": ["nope-*"]}, r"no objective matches 'nope-\*'; known are .*'sgd-wine'"),
        ({"objectives": ["splines-phase", "svm-*"]}, r"only reserved objectives, \['svm-digits'\]"),
        ({"objectives": []}, "objectives must name at least one"),
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_generate__bad_setting__is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(config(tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_generate__folder_of_other_settings__is_refused(copy: Path) -> None:
    with pytest.raises(ConfigError, match="generated with trials 4, now it is 5"):
        generate(config(copy, trials=5))
    (copy / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="without a manifest"):
        generate(config(copy))


def test_generate__method_that_cannot_search_a_space__says_so_before_any_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(study: Any) -> Any:
        if "n_knots" in study.space:
            raise ConfigError("parameter 'n_knots' is an integer, expected a float")
        return create("random", study)

    monkeypatch.setattr(REGISTRY, "_entries", dict(REGISTRY._entries))
    REGISTRY.register("picky", picky)
    with pytest.raises(ConfigError, match="picky on splines-phase: parameter 'n_knots'"):
        generate(config(tmp_path / "out", methods=["picky"]))
    assert not (tmp_path / "out").exists()


def test_select_objectives__star__leaves_out_what_is_reserved_unless_allowed() -> None:
    selected, left_out = sources.select_objectives(["*"], generated=0, allow_reserved=False)
    assert selected == sorted(PAIRS)
    assert "mlp-digits" in left_out
    everything, none = sources.select_objectives(["*"], generated=0, allow_reserved=True)
    assert (everything, none) == (sorted([*selected, *left_out]), [])
    assert all(sources.load_objective(name).reserved for name in left_out)
    assert not any(sources.load_objective(name).reserved for name in selected)


def test_licence__every_objective__is_known() -> None:
    selected, _ = sources.select_objectives(["*"], generated=0, allow_reserved=True)
    assert all(sources.licence(name).count(":") == 1 for name in selected)


def test_play__seeds_and_methods__draw_their_own_points() -> None:
    keys = [StudyKey("splines-phase", method, seed) for method in METHODS for seed in (0, 1)]
    points = [next(iter(run_study(key, 1)))[0].params for key in keys]
    assert all(points[i] != points[j] for i in range(4) for j in range(i))
    assert points[0] == next(iter(run_study(keys[0], 1)))[0].params


def test_play__failed_evaluation__is_a_failed_trial_and_the_study_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "optformer.data.objectives.sklearn_families._evaluate", lambda *_: float("nan")
    )
    played = [trial for trial, _ in run_study(StudyKey("splines-phase", "random", 0), 3)]
    assert [trial.status for trial in played] == [TrialStatus.FAILED] * 3
    assert all("the metric is nan" in str(trial.reason) for trial in played)


def test_select__generated_data_sets__by_number_by_pattern_or_by_name() -> None:
    chosen, _ = sources.select_objectives(
        ["sgd-classification-*"], generated=3, allow_reserved=False
    )
    assert chosen == [f"sgd-classification-{seed}" for seed in range(3)]
    chosen, _ = sources.select_objectives(
        ["sgd-classification-77"], generated=0, allow_reserved=False
    )
    assert chosen == ["sgd-classification-77"]
    with pytest.raises(ConfigError, match=r"on 0 generated data sets"):
        sources.select_objectives(["sgd-regression-*"], generated=0, allow_reserved=False)
    assert sources.suite_of("sgd-classification-77") == "generated"
    assert sources.licence("sgd-classification-77").startswith("classification-<seed>: generated")
