from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import CheckpointError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.cli import main
from optformer.serving.client.client import Client
from optformer.serving.study.locks import locked
from optformer.serving.study.study import Study, load_study

SPACE = """
lr: {type: float, low: 1e-5, high: 1e-1, log: true}
layers: {type: int, low: 1, high: 8}
"""

EXAMPLES = Path(__file__).parents[3] / "examples"

Wait = Callable[[Callable[[], bool]], None]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def tune(
    tmp_path: Path, random_planner: type, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs `optformer tune` on a Python program in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)

    def tune(
        program: str, *options: str, arguments: Sequence[str] = ("{lr}", "{layers}", "{trial}")
    ) -> int:
        (tmp_path / "train.py").write_text(program)
        return main([*base_options(), *options, "--", sys.executable, "train.py", *arguments])

    return tune


def base_options() -> list[str]:
    study = ["--space", "space.yaml", "--metric", "score", "--goal", "maximize"]
    return ["tune", *study, "--seed", "1", "--out", "out"]


def has_ended(pid: str) -> bool:
    """Whether a process is gone; one that nobody has reaped yet counts as gone."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def load(tmp_path: Path) -> Study:
    return load_study(storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}", name="tune")


GOOD = "import sys; print('score:', float(sys.argv[1]) * int(sys.argv[2]))"


def test_tune__script_prints_metric__observes_it(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(GOOD, "--trials", "4", "--metadata", "task=a b", "dataset=c") == 0
    study = load(tmp_path)
    assert study.config.metadata == {"task": "a b", "dataset": "c"}
    assert study.seed == 1
    assert [trial.value for trial in study.trials] == [
        trial.params["lr"] * trial.params["layers"] for trial in study.trials
    ]
    out = capsys.readouterr().out
    assert "study tune: 4 completed" in out
    assert f"(trial {study.best_trial.number})" in out
    assert str(study.best_trial.params["lr"]) in out
    assert "score:" in (tmp_path / "out" / "trial-0003" / "stdout.txt").read_text()
    assert (tmp_path / "out" / "history.png").stat().st_size > 1000


def test_tune__json__is_all_that_standard_output_holds(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(GOOD, "--trials", "2", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = ["search", "start", "trial", "start", "trial", "end"]
    assert [event["event"] for event in events] == kinds
    assert events[4]["value"] == load(tmp_path).trials[1].value
    assert events[-1]["plot"] == str(tmp_path / "out" / "history.png")
    assert events[-1]["study"] == f"sqlite:///{tmp_path / 'out' / 'study.db'}"


SEVERAL = """
import sys
layers = int(sys.argv[2])
print('score:', float(sys.argv[1]) * layers)
print('cost:', layers)
print('size:', 'nan' if sys.argv[3] == '2' else layers)
"""


def several(*options: str) -> list[str]:
    study = ["--space", "space.yaml", "--seed", "1", "--out", "out"]
    return [
        "tune",
        *study,
        *options,
        "--",
        sys.executable,
        "train.py",
        "{lr}",
        "{layers}",
        "{trial}",
    ]


def test_tune__several_goals_and_a_limit__ends_with_the_front(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(SEVERAL)
    goals = ["--metric", "score=maximize", "--metric", "cost=minimize", "--limit", "size <= 6"]
    assert main(several(*goals, "--trials", "8")) == 0
    study = load(tmp_path)
    assert study.config.goals == {"score": "maximize", "cost": "minimize"}
    assert {name: str(limit) for name, limit in study.config.limits.items()} == {"size": "<= 6.0"}
    failed = study.trials[2]
    assert failed.reason is not None
    assert "size is nan" in failed.reason
    assert all(t.metrics["cost"] == t.params["layers"] for t in study.trials if t.has_value)
    beyond = [t for t in study.trials if t.has_value and t.params["layers"] > 6]
    out = capsys.readouterr().out
    assert out.count("beyond a limit") == len(beyond)
    assert f"{7 - len(beyond)} of 7 completed trials keep the limits: size <= 6.0" in out
    assert f"Pareto front: {len(study.best_trials)} trial" in out
    assert (tmp_path / "out" / "front.png").stat().st_size > 1000

    assert main(several(*goals[:4], "--trials", "9", "--resume")) == 2
    assert "started with a different limits" in capsys.readouterr().err
    assert main(several(*goals, "--trials", "9", "--resume", "--json")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["goals"] == {"score": "maximize", "cost": "minimize"}
    front = [trial.number for trial in load(tmp_path).best_trials]
    assert events[-2]["front"] == front
    assert [trial["trial"] for trial in events[-1]["front"]] == front


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "score"], "needs --goal maximize or --goal minimize"),
        (["--metric", "a=maximize", "--goal", "maximize"], "leave out --goal"),
        (["--metric", "a=maximize", "--metric", "b=2"], "each metric tells its own"),
        (["--metric", "a=maximize", "--metric", "a=minimize"], "names 'a' twice"),
        (["--metric", "=maximize"], "each metric tells its own"),
        (["--metric", "a", "--goal", "maximize", "--limit", "b < 3"], "'metric <= number'"),
        (["--metric", "a", "--goal", "maximize", "--limit", "<= 3"], "'metric <= number'"),
        (["--metric", "a", "--goal", "maximize", "--limit", "b <= many"], "got '<= many'"),
        (["--metric", "a=maximize", "--metric", "b=minimize", "--pruner", "median"], "one goal"),
        (["--metric", "a=maximize", "--metric", "b=minimize", "--strategy", "ts"], "strategy 'ei'"),
        (
            ["--metric", "a=maximize", "--metric", "b=minimize", "--metric-pattern", "(.*)"],
            "reads one metric",
        ),
    ],
)
def test_tune__aims_that_cannot_be__are_refused_before_there_is_a_folder(
    tune: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    (tmp_path / "train.py").write_text(GOOD)
    assert main(several(*options)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal of Linux")
def test_tune__in_a_terminal__lines_stay_and_the_table_goes(tmp_path: Path, start: Start) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "train.py").write_text("import time; time.sleep(0.6); print('score: 1')")
    ours, theirs = os.openpty()
    command = ["--", sys.executable, "train.py", "{lr}", "{layers}"]
    process = start(*base_options(), "--trials", "2", *command, stdout=theirs)
    os.close(theirs)
    output = b""
    with suppress(OSError):  # how Linux tells that nobody is at the other end
        while piece := os.read(ours, 4096):
            output += piece
    os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 0
    shown = output.decode()
    assert re.search(r"1 of 2 trials.*trial 1 .*study tune: 2 completed", shown, re.DOTALL)
    assert shown.count("trial 0  score 1  (") == 1
    last = shown[shown.index("study tune: 2") :]
    assert "\x1b" not in last
    assert "of 2 trials" not in last


def test_tune__pruner__stops_scripts_early_and_is_kept_with_the_study(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys, time\nprint('score: 1')\nfor epoch in range(3, 9):\n"
        "    print(f'epoch {epoch} score:', epoch * int(sys.argv[3]))\n"
        "time.sleep(60 * (int(sys.argv[3]) > 1))"
    )
    options = ["--pruner", "threshold(upper=10)", "--step-pattern", r"epoch (\d+)", "--json"]
    assert tune(program, "--trials", "3", *options) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reports = [(e["trial"], e["step"], e["value"]) for e in events if e["event"] == "report"]
    assert set(reports) >= {(0, 3, 0.0), (0, 8, 0.0), (1, 8, 8.0), (2, 3, 6.0), (2, 6, 12.0)}
    assert [trial.status.value for trial in load(tmp_path).trials][2] == "stopped"
    assert events[-1]["ended"] == {"completed": 2, "stopped": 1}
    assert tune(program, "--trials", "4", "--resume") == 0
    output = capsys.readouterr().out
    assert re.search(r"trial 3  score \d+, stopped early  \(", output)
    assert "2 completed, 2 stopped" in output


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal of Linux")
def test_tune__terminal_closed__ends_as_by_any_signal(
    tmp_path: Path, start: Start, wait_for: Wait
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "train.py").write_text(
        "import sys, time; time.sleep(60 * int(sys.argv[1])); print('score: 1')"
    )
    ours, theirs = os.openpty()
    command = ["--", sys.executable, "train.py", "{trial}", "{lr}{layers}"]
    process = start(*base_options(), *command, stdout=theirs)
    os.close(theirs)
    wait_for(lambda: (tmp_path / "out" / "trial-0001" / "stdout.txt").exists())
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert [trial.reason for trial in load(tmp_path).trials] == [None, "interrupted"]


def test_tune__environment__holds_parameters_number_and_directory(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import json, os; p = json.loads(os.environ['OPTFORMER_PARAMS']);"
        "open(os.environ['OPTFORMER_OUT'] + '/r.json', 'w').write("
        "json.dumps({'score': p['lr'] + p['layers'], 'trial': os.environ['OPTFORMER_TRIAL']}))"
    )
    assert tune(program, "--trials", "2", "--metric-file", "r.json", arguments=()) == 0
    for trial in load(tmp_path).trials:
        assert trial.value == trial.params["lr"] + trial.params["layers"]
        written = (tmp_path / "out" / f"trial-000{trial.number}" / "r.json").read_text()
        assert json.loads(written)["trial"] == str(trial.number)
    assert "does not mention lr, layers" in capsys.readouterr().err


def test_tune__weighted_metric__searches_on_the_sum(
    tune: Callable[..., int], tmp_path: Path
) -> None:
    program = "print('score: 2\\nseconds: 10')"
    options = ["--metric", "seconds=-0.1", "--trials", "1"]
    argv = base_options()
    argv[argv.index("score")] = "score=1"
    (tmp_path / "train.py").write_text(program)
    command = ["--", sys.executable, "train.py", "{lr}{layers}"]
    assert main([*argv, *options, *command]) == 0
    (trial,) = load(tmp_path).trials
    assert trial.value == pytest.approx(1.0)
    assert trial.metrics == {"score": 2.0, "seconds": 10.0}


def test_tune__fixed_parameter__held(tune: Callable[..., int], tmp_path: Path) -> None:
    assert tune(GOOD, "--trials", "3", "--fixed", "layers=5", "lr=1e-3") == 0
    assert {trial.value for trial in load(tmp_path).trials} == {0.005}


def test_tune__failing_trials__recorded_with_reasons_and_the_search_goes_on(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
import sys, time
match int(sys.argv[3]):
    case 0: print("score: 1")
    case 1: print("bye")
    case 2: sys.exit("no such file")
    case 3: time.sleep(60)
    case 4: print("score: nan")
    case 5: import os; os.kill(os.getpid(), 9)
    case 6: print("score: 3")
"""
    assert tune(program, "--trials", "7", "--timeout", "1") == 0
    trials = load(tmp_path).trials
    assert [trial.value for trial in trials] == [1.0, None, None, None, None, None, 3.0]
    reasons = [trial.reason or "" for trial in trials[1:6]]
    assert reasons[0].startswith("metric 'score' was not printed")
    assert reasons[1] == "exit status 1: no such file"
    assert reasons[2] == "timed out after 1 s"
    assert reasons[3] == "not a finite number: score is nan"
    assert reasons[4] == "ended by signal 9 (Killed)"
    out = capsys.readouterr().out
    assert "2 completed, 5 failed" in out
    assert "failed once: timed out after 1 s" in out


def test_tune__first_trials_all_fail__stops_with_the_reason(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import pathlib, sys, time\n"
        "number, sixth = int(sys.argv[3]), pathlib.Path('sixth')\n"
        "if number > 4:\n"
        "    sixth.touch(); time.sleep(60)\n"
        "while number == 4 and not sixth.exists():  # the fifth failure finds a script running\n"
        "    time.sleep(0.01)\n"
        "import no_such_module\n"
    )
    assert tune(program, "--trials", "30", "--parallel", "2") == 2
    trials = load(tmp_path).trials
    assert [trial.reason for trial in trials[5:]] == ["interrupted"]
    error = capsys.readouterr().err
    assert re.search(
        r"^error: all of the first 5 trials failed; trial \d: exit status 1: "
        r"ModuleNotFoundError: No module named 'no_such_module'; see /.*/out/trial-000\d and",
        error,
        re.MULTILINE,
    )


def test_tune__parallel__runs_together_and_sees_pending_trials(
    tune: Callable[..., int],
    tmp_path: Path,
    random_planner: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    plain: Any = random_planner.suggest  # type: ignore[attr-defined]

    def suggest(
        self: Any, config: StudyConfig, history: Sequence[Trial], *rest: Any, **o: Any
    ) -> Any:
        seen.append(sum(trial.status is TrialStatus.PENDING for trial in history))
        return plain(self, config, history, *rest, **o)

    monkeypatch.setattr(random_planner, "suggest", suggest)
    program = (  # each of the first two waits for the other's sign
        "import os, sys, time\nn = int(sys.argv[3]); open(f'sign{n}', 'w')\n"
        "while n < 2 and not os.path.exists(f'sign{1 - n}'): time.sleep(0.02)\nprint('score: 1')"
    )
    assert tune(program, "--trials", "4", "--parallel", "2", "--timeout", "20") == 0
    assert [trial.value for trial in load(tmp_path).trials] == [1.0] * 4
    assert seen[:2] == [0, 1]
    assert max(seen) == 1


def test_tune__finite_space__ends_when_exhausted(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text("layers: {type: int, low: 1, high: 3}")
    assert tune("print('score: 1')", "--trials", "9", arguments=["{layers}"]) == 0
    assert len(load(tmp_path).trials) == 3
    assert "all 3 points have been tried" in capsys.readouterr().err


def test_tune__existing_study__needs_resume_and_the_same_conditions(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(GOOD, "--trials", "2") == 0
    assert tune(GOOD, "--trials", "3") == 2
    assert "study 'tune' is already in sqlite:///" in (error := capsys.readouterr().err)
    assert "--resume" in error
    assert tune(GOOD, "--trials", "3", "--resume", "--metadata", "task=x") == 2
    assert "started with a different metadata" in capsys.readouterr().err
    assert tune(GOOD, "--trials", "3", "--resume", "--seed", "2") == 2
    assert "started with a different seed" in capsys.readouterr().err
    assert tune(GOOD, "--trials", "3", "--resume") == 0
    assert len(load(tmp_path).trials) == 3
    assert tune(GOOD, "--trials", "3", "--resume") == 0
    assert "has 3 finished trials; raise --trials" in capsys.readouterr().err
    assert tune(GOOD, "--name", "other") == 2
    assert "holds trials of another search" in capsys.readouterr().err


def test_tune__resumed_while_another_search_runs__is_refused(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(GOOD, "--trials", "2") == 0
    out = next(tmp_path.rglob("search.lock"))
    before = load(tmp_path).trials
    with locked(out, patience=0.0, busy="free"):
        assert tune(GOOD, "--trials", "3", "--resume") == 2
        assert "another search is running in" in capsys.readouterr().err
    assert load(tmp_path).trials == before
    assert tune(GOOD, "--trials", "3", "--resume") == 0


def test_tune__missing_model__leaves_no_study_behind(
    tune: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load_planner(model: Path | None, *, strategy: str) -> None:
        raise CheckpointError(f"no checkpoint at {model}")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["optformer.planning.planner"], "load_planner", load_planner)
        assert tune(GOOD, "--trials", "1", "--model", "nowhere") == 2
    assert f"no checkpoint at {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert tune(GOOD, "--trials", "1") == 0


def test_tune__example__works_from_the_shell(
    tmp_path: Path, random_planner: type, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(EXAMPLES / "train_digits.py")
    placeholders = ["--C={C}", "--kernel", "{kernel}", "--gamma={gamma}", "--degree", "{degree}"]
    study = ["--space", str(EXAMPLES / "digits.space.yaml"), "--goal", "maximize"]
    run = ["--metric", "accuracy", "--trials", "2", "--parallel", "2", "--out", str(tmp_path)]
    assert main(["tune", *study, *run, "--", sys.executable, script, *placeholders]) == 0
    assert "study tune: 2 completed" in capsys.readouterr().out


def test_tune__killed_search__resumes_with_what_its_scripts_found(
    tune: Callable[..., int], tmp_path: Path, start: Start, wait_for: Wait
) -> None:
    program = (
        "import sys, time\nif sys.argv[3] in '23': time.sleep(3)\nprint('score:', sys.argv[1])"
    )
    (tmp_path / "train.py").write_text(program)
    command = ["--", sys.executable, "train.py", "{lr}", "{layers}", "{trial}"]
    options = ["--trials", "5", "--parallel", "2"]
    process = start(*base_options(), *options, *command)
    wait_for(lambda: (tmp_path / "out" / "trial-0003" / "stdout.txt").exists())
    process.kill()
    process.communicate()
    before = load(tmp_path).trials
    assert [trial.status.value for trial in before] == ["completed"] * 2 + ["pending"] * 2

    assert tune(program, *options, "--resume") == 0
    after = load(tmp_path).trials
    assert after[:2] == before[:2]
    assert [trial.value for trial in after] == [trial.params["lr"] for trial in after]
    assert len(after) == 5
    started = (tmp_path / "out").glob("trial-000[23]/stdout.txt")
    assert [path.read_text().count("score") for path in started] == [1, 1]


def test_tune__second_search_on_a_shared_storage__leaves_the_first_ones_trials_alone(
    tune: Callable[..., int], tmp_path: Path, start: Start, wait_for: Wait
) -> None:
    shared = ["--storage", f"sqlite:///{tmp_path / 'shared.db'}", "--trials", "4"]
    (tmp_path / "slow.py").write_text("import time; time.sleep(4); print('score: 1')")
    command = ["--", sys.executable, "slow.py", "{lr}", "{layers}"]
    first = start(*base_options(), *shared, *command)
    wait_for(lambda: (tmp_path / "out" / "trial-0000" / "stdout.txt").exists())
    assert tune("print('score: 2')", *shared, "--resume", "--out", "other") == 0
    _, error = first.communicate(timeout=60)
    assert (first.returncode, error) == (0, "")
    trials = load_study(storage=shared[1], name="tune").trials
    assert [trial.status for trial in trials] == [TrialStatus.COMPLETED] * len(trials)
    assert trials[0].value == 1.0
    assert 2.0 in {trial.value for trial in trials}


def test_tune__first_trial__says_where_the_metric_was_read(
    tune: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import sys; print('epoch 1 score: 0.1\\nscore: 0.2', file=sys.stderr)"
    assert tune(program, "--trials", "2") == 0
    out = capsys.readouterr().out
    assert out.count("was read from") == 1
    assert (
        "  score was read from line 2 of stderr.txt: 'score: 0.2' (line 1 reports it in another "
        "way: 'epoch 1 score: 0.1')\n"
    ) in out


def test_tune__ambiguous_metric__fails_the_trials_and_names_the_lines(
    tune: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune("print('val score: 0.8\\ntrain score: 0.99')", "--trials", "9") == 2
    error = capsys.readouterr().err
    assert "'score' is ambiguous: line 1 is 'val score: 0.8', line 2 is 'train score: 0" in error


@pytest.mark.parametrize(
    "name", ["what?", "a%2Fb", "{x}", "h#x", "a b", "é日", "x?y=1&z", "new\nline", "\x1b[2J", "~"]
)
def test_tune__folder_of_any_name__holds_its_own_study(
    name: str, tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--trials", "1", "--out", f"runs/{name}"]
    assert tune(GOOD, *options) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [name]
    assert (tmp_path / "runs" / name / "study.db").is_file()
    assert tune(GOOD, *options) == 2
    assert "is already in sqlite:///" in capsys.readouterr().err
    assert tune(GOOD, *options, "--trials", "2", "--resume") == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../x", "/x", "..", ".", "a/../b", " ", " x"])
def test_tune__name_outside_runs__refused_without_out(
    name: str, tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--space", "space.yaml", "--metric", "score", "--goal", "maximize", "--name", name]
    assert main(["tune", *argv, "--", sys.executable, "{lr}"]) == 2
    assert "cannot name a folder in runs; give --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_tune__output_in_an_encoding_without_a_character__goes_on(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "space.yaml").write_text('c: {type: categorical, choices: [é日, "a"]}')
    (tmp_path / "train.py").write_text("print('score: 1')")
    options = [*base_options(), "--trials", "2", "--", sys.executable, "train.py", "{c}"]
    out, error = start(*options).communicate(timeout=60)
    assert "Traceback" not in error
    assert out.isascii()
    assert "study tune: 2" in out


def test_tune__control_characters_of_a_script__shown_harmlessly(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = r"\x1b]0;title\x07\x1b[2J\x1b[8m\rtrial 0  score 99.9 \x9b31m \u202e"
    assert tune(f"import sys; print('score: 1') if sys.argv[3] == '0' else sys.exit('{bad}')",
                "--trials", "3") == 0  # fmt: skip
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert all((trial.reason or "").isprintable() for trial in load(tmp_path).trials)
    assert "exit status 1: trial 0  score 99.9" in captured.out


@pytest.mark.parametrize("password", ["secret", "p@ss:word", "s/ecret?x", "%41#b"])
def test_tune__password_of_a_storage__is_not_shown(
    password: str, tune: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"postgresql://me:{password}@127.0.0.1:1/studies"
    for options in ([], ["--resume"]):
        assert tune(GOOD, "--storage", address, *options) == 2
        captured = capsys.readouterr()
        assert password not in captured.out + captured.err
        assert "postgresql://me:***@127.0.0.1:1/studies" in captured.err


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tune__interrupted__keeps_finished_trials_and_leaves_no_process(
    number: signal.Signals, tmp_path: Path, start: Start, wait_for: Wait
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "train.py").write_text(
        "import os, subprocess, sys, time\n"
        "if int(sys.argv[3]) > 1:\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    open('pids', 'a').write(f'{os.getpid()} {child.pid}\\n')\n"
        "    time.sleep(60)\n"
        "print('score:', sys.argv[1])\n"
    )
    process = start(
        *base_options(),
        *["--trials", "9", "--parallel", "2"],
        *["--", sys.executable, "train.py", "{lr}", "{layers}", "{trial}"],
    )
    pids = tmp_path / "pids"
    wait_for(lambda: pids.exists() and pids.read_text().count("\n") == 2)
    process.send_signal(number)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "--resume" in error
    assert "Traceback" not in error
    assert "study tune: 2 completed, 2 failed" in out
    assert "best score" in out
    wait_for(lambda: all(map(has_ended, pids.read_text().split())))
    trials = load(tmp_path).trials
    assert [trial.status for trial in trials[:2]] == [TrialStatus.COMPLETED] * 2
    assert [trial.reason for trial in trials[2:]] == ["interrupted"] * 2


@pytest.mark.parametrize(
    ("options", "command", "message"),
    [
        ([], [], "expected the command to tune after `--`"),
        ([], ["python", "{rate}"], "unknown placeholder {rate}"),
        ([], ["no-such-program", "{lr}"], "program 'no-such-program' was not found"),
        (["--space", "missing.yaml"], ["python", "{lr}"], "missing.yaml"),
        (["--fixed", "lr=3"], ["python", "{lr}"], "parameter 'lr'"),
        (["--fixed", "lr"], ["python", "{lr}"], "--fixed takes name=value"),
        (["--metric", "loss"], ["python", "{lr}"], "name=weight for each metric"),
        (["--metric-pattern", "x"], ["python", "{lr}"], "must have one group"),
        (["--metric-file", "/r.json"], ["python", "{lr}"], "shared by all trials"),
        (["--pruner", "best"], ["python", "{lr}"], "unknown pruner 'best'"),
        (["--pruner", "threshold"], ["python", "{lr}"], "threshold"),
        (["--pruner", "median", "--metric-file", "r.json"], ["python", "{lr}"], "no metric file"),
        (["--step-pattern", "x"], ["python", "{lr}"], "give --pruner, too"),
        (["--pruner", "median", "--step-pattern", "x"], ["python", "{lr}"], "must have one group"),
        (["--strategy", "best"], ["python", "{lr}"], "strategy must be one of"),
        (["--seed", "-1"], ["python", "{lr}"], "seed must be"),
        (["--storage", "nonsense"], ["python", "{lr}"], "'nonsense' is not understood"),
        (["--storage", "sqlite:////no/such/dir/x.db"], ["python", "{lr}"], "/no/such/dir"),
        (["--resume"], ["python", "{lr}"], "there is no study 'tune'"),
        (["--out", "space.yaml"], ["python", "{lr}"], "space.yaml"),
    ],
)
def test_tune__fault_of_the_user__one_line_and_exit_status_2(
    tune: Callable[..., int],
    options: list[str],
    command: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*base_options(), *options, "--", *command]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert not list(tmp_path.glob("out/trial-*"))


@pytest.mark.parametrize(
    "options", [["--trials", "0"], ["--parallel", "x"], ["--timeout", "-1"], ["--goal", "up"]]
)
def test_tune__option_out_of_range__refused_by_the_parser(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*base_options(), *options, "--", "python"])


def test_tune__cluster_that_does_not_answer__is_named_before_anything_is_made(
    tune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert tune("", "--ray", address) == 2
    assert f"cannot reach the cluster '{address}': " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tune__resources_without_a_cluster__are_refused(
    tune: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune("", "--resources", "GPU=1") == 2
    assert "resources are those of a cluster; give --ray, too" in capsys.readouterr().err


def test_tune__server__suggests_and_keeps_the_study(
    tune: Callable[..., int],
    connection: Any,
    server: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    program = "import sys; print('score:', float(sys.argv[1]) * int(sys.argv[2]))"
    away = ["--storage", server.url, "--name", "shared"]
    assert tune(program, *away, "--trials", "2") == 0
    assert tune(program, *away, "--trials", "3", "--resume") == 0
    study = Client(connection, tmp_path / "state").load_study("shared")
    assert [trial.status for trial in study.trials] == [TrialStatus.COMPLETED] * 3
    assert {trial.params["layers"] for trial in study.trials} <= set(range(1, 9))
    assert not (tmp_path / "out" / "study.db").exists()
    capsys.readouterr()
    assert tune(program, *away, "--out", "other", "--name", "new", "--model", "m") == 2
    assert "a server decides about model itself; leave out --model" in capsys.readouterr().err
