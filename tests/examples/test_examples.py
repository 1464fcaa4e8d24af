"""Every example runs as its users start it, cut short, and does what it says."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from optformer.data.studies.study_files import read_studies
from optformer.model.checkpoint import save_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.serving.study.study import load_study
from optformer.tokenization.vocabulary import default_vocabulary

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
LONGEST = 80  # lines


class Run:
    """Runs an example in an empty folder and returns what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, name: str, *options: str) -> str:
        self.monkeypatch.setattr(sys, "argv", [name, *options])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return self.capsys.readouterr().out


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(monkeypatch, capsys)


def best(output: str) -> float:
    """The value of the line that names the best trial."""
    found = re.search(r"^best: trial \d+, \w+ ([\d.]+)", output, re.MULTILINE)
    assert found is not None, output
    return float(found[1])


def values(output: str) -> list[float]:
    """The values of the lines that name a trial each."""
    return [float(text) for text in re.findall(r"^trial \d+: (?:\w+ )?([\d.]+)", output, re.M)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_example__of_one_feature__is_short_and_listed(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < LONGEST
    assert f"]({name})" in (EXAMPLES / "README.md").read_text()


def test_stop_early__ten_trials__stop_some(run: Run) -> None:
    output = run("stop_early.py", "--trials", "10", "--pruner", "median(n_startup_trials=2)")
    assert best(output) > 0.9
    trained, whole = map(int, re.findall(r"\d+", output.splitlines()[-1]))
    assert whole == 200
    assert trained < whole


def test_first_search__three_trials__names_the_best(run: Run) -> None:
    output = run("first_search.py", "--trials", "3")
    assert best(output) == max(values(output)) > 0.8
    assert "the model expects 0." in output


def test_tune_sklearn__three_trials__plots_the_search(run: Run, tmp_path: Path) -> None:
    output = run("tune_sklearn.py", "--trials", "3", "--plot", "history.png")
    assert best(output) > 0.5
    assert (tmp_path / "history.png").stat().st_size > 1000


def test_train_digits__good_values__prints_a_high_accuracy(run: Run) -> None:
    output = run("train_digits.py", "--C", "10", "--kernel", "rbf", "--gamma", "0.05")
    assert float(output.removeprefix("accuracy: ")) > 0.9


def test_parallel_workers__two_at_a_time__every_trial_is_measured_once(run: Run) -> None:
    output = run("parallel_workers.py", "--trials", "5", "--workers", "2")
    numbers = re.findall(r"^trial (\d+)", output, re.MULTILINE)
    assert sorted(numbers) == ["0", "1", "2", "3", "4"]
    assert best(output) == max(values(output))


@pytest.fixture
def own_workers() -> None:
    """Have joblib start new processes: those of another test would print where it printed."""
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("own_workers")
@pytest.mark.parametrize(
    "example", [pytest.param("job_queue.py", marks=pytest.mark.slow), "server_workers.py"]
)
def test_workers__two_processes__every_trial_is_measured_once(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [example, "--trials", "4", "--workers", "2"])
    runpy.run_path(str(EXAMPLES / example), run_name="__main__")
    output = capfd.readouterr().out  # of the workers, too
    numbers = re.findall(r"^trial (\d+)", output, re.MULTILINE)
    assert sorted(numbers) == ["0", "1", "2", "3"]
    assert best(output) == max(values(output))


def test_external_storage__started_twice__goes_on_with_one_study(run: Run) -> None:
    options = ["--trials", "2", "--storage", "sqlite:///kernels.db"]
    assert "Optuna sees 2 trials" in run("external_storage.py", *options)
    assert "Optuna sees 4 trials" in run("external_storage.py", *options)
    trials = load_study(storage="sqlite:///kernels.db").trials
    assert [trial.number for trial in trials if trial.value is not None] == [0, 1, 2, 3]


def test_own_studies__a_log__is_told_before_the_first_suggestion(run: Run) -> None:
    output = run("own_studies.py", "--trials", "2")
    told, after = (float(text) for text in re.findall(r"(?:best|more:) ([\d.]+)", output))
    assert after <= told
    assert "tells 12 trials" in output


def test_finetune__one_step__searches_with_the_new_model(run: Run, tmp_path: Path) -> None:
    vocabulary = default_vocabulary()
    tiny = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    save_checkpoint(tmp_path / "tiny", tiny, vocabulary, {})
    short = ["--studies", "4", "--trials", "6", "--steps", "1", "--model", "tiny"]
    output = run("finetune.py", "--out", "team", *short)
    assert len(list(read_studies(tmp_path / "team/model/learned.studies.jsonl"))) == 3
    assert "improvement" in output
    assert len(values(output)) == 5


def test_population_based_training__wine__prints_a_schedule(run: Run, tmp_path: Path) -> None:
    output = run("population_based_training.py", "--dataset", "wine", "--plot", "schedule.png")
    steps = [int(text) for text in re.findall(r"^step +(\d+)", output, re.MULTILINE)]
    assert steps == sorted(steps)
    assert len(steps) > 1
    assert (tmp_path / "schedule.png").stat().st_size > 1000


def test_progressive_learning__two_trials__prints_a_stage_a_line(run: Run) -> None:
    output = run("progressive_learning.py", "--trials", "2", "--stages", "2", "--steps", "3")
    assert best(output) == min(values(output))
    assert len(re.findall(r"^learning_rate", output, re.MULTILINE)) == 2
