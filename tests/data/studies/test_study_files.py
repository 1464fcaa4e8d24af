from __future__ import annotations

from pathlib import Path

import pytest

from optformer.data.studies.errors import DatasetError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.data.studies.study_files import read_studies, write_studies
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(
    lr=Float(1e-6, 1.0, log=True, description="step size"),
    kind=Categorical(["sgd", None, True]),
    width=Ordinal([8, 16.5, "wide"]),
    layers=Int(1, 9, when={"kind": ["sgd"]}),
)


def recorded() -> list[RecordedStudy]:
    first = {"lr": 1e-3, "kind": "sgd", "width": 16.5, "layers": 3}
    second = {"lr": 0.1, "kind": None, "width": "wide"}
    plain = StudyConfig(SPACE, "loss", "minimize", {"task": "größer"})
    weighted = StudyConfig(
        SPACE, Weighted(accuracy=1.0, flops=-1e-9), "maximize", {}, {"width": "wide"}
    )
    trials = (
        Trial(0, first, study="a").finish(0.25),
        Trial(1, second, study="a").fail("out of memory"),
        Trial(2, second, study="a").finish(1.5, stopped=True),
        Trial(3, first, study="a"),
    )
    return [RecordedStudy("a", plain, trials), RecordedStudy("b", weighted, ())]


def test_write_studies__all_statuses__are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "team.studies.jsonl"
    write_studies(path, recorded())
    assert list(read_studies(path)) == recorded()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_write_studies__cannot_write__leaves_the_previous_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "team.studies.jsonl"
    write_studies(path, recorded())

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DatasetError, match=r"cannot write .*No space left"):
        write_studies(path, [])
    assert list(read_studies(path)) == recorded()


@pytest.mark.parametrize(
    "line", ["{", "5", '{"name": "x"}', '{"name": "x", "config": {"space": {}}, "trials": []}']
)
def test_read_studies__damaged__names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "team.studies.jsonl"
    write_studies(path, recorded())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DatasetError, match=r"team\.studies\.jsonl, line 3 is no study"):
        list(read_studies(path))


def test_read_studies__no_file__is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read .*none\.studies\.jsonl"):
        list(read_studies(tmp_path / "none.studies.jsonl"))
