"""The search's loop against storages that fail and studies that others change."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import (
    ObjectiveError,
    SpaceExhaustedError,
    StorageError,
    StudyError,
    TokenizationError,
    TrialError,
)
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.serving.script import runner
from optformer.serving.script.command import CommandTemplate
from optformer.serving.script.curve import create_curve_reader
from optformer.serving.script.metric import create_reader
from optformer.serving.script.process import ScriptProcess, StopRequest
from optformer.serving.script.runner import check_folder, tune_script
from optformer.serving.script.script import Script, ScriptOutcome
from optformer.serving.study.study import Study

from .conftest import has_ended, wait_until

SPACE = SearchSpace(x=Float(0, 1))
PRINT = "import sys; print('m:', sys.argv[1])"


class Flaky:
    """A study whose storage fails when `fails` says so; otherwise that of a `Study`."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.name = study.name
        self.prunes = study.prunes
        self.calls: list[str] = []
        self.fails: Callable[[str], BaseException | None] = lambda call: None

    def _check(self, call: str) -> None:
        self.calls.append(call)
        error = self.fails(call)
        if error is not None:
            raise error

    @property
    def trials(self) -> list[Trial]:
        return self.study.trials

    def adopt(self, trial: Trial, **options: Any) -> None:
        self.study.adopt(trial, **options)

    def fail_stale_trials(self) -> list[Trial]:
        return self.study.fail_stale_trials()

    def suggest_within(self, budget: int) -> Trial | None:
        self._check("suggest")
        trial = self.study.suggest_within(budget)
        if trial is None:
            self.calls[-1] = "enough"
        return trial

    def observe(self, *args: Any, **options: Any) -> Trial:
        self._check("observe")
        return self.study.observe(*args, **options)


class StopWhen(StopRequest):
    """Is requested as soon as something is true."""

    def __init__(self, true: Callable[[], bool]) -> None:
        self._true = true
        self.forced = False

    @property
    def requested(self) -> bool:  # type: ignore[override]
        return self._true()


class Searching:
    """A search whose pieces a test can change."""

    def __init__(self, study: Study, out: Path) -> None:
        self.study = Flaky(study)
        self.out = out
        self.notes: list[str] = []
        self.running: list[int] = []
        self.curve: list[tuple[int, int, float]] = []
        self.observations: list[tuple[Trial, ScriptOutcome]] = []
        self.stop = StopRequest()

    def script(self, program: str) -> Script:
        return Script(
            config=self.study.study.config,
            command=CommandTemplate([sys.executable, "-c", program, "{x}", "{trial}"], SPACE),
            reader=create_reader(self.study.study.config),
            out=self.out,
            curves=create_curve_reader(self.study.study.config) if self.study.prunes else None,
        )

    def run(self, program: str, *, trials: int = 3, parallel: int = 1) -> None:
        tune_script(
            self.study,  # type: ignore[arg-type]
            self.script(program),
            trials=trials,
            parallel=parallel,
            stop=self.stop,
            watcher=self,
        )

    def started(self, trial: Trial, since: float) -> None:
        assert since <= time.time()
        self.running.append(trial.number)

    def reported(self, trial: Trial, step: int, value: float) -> None:
        self.curve.append((trial.number, step, value))

    def observed(self, trial: Trial, outcome: ScriptOutcome) -> None:
        self.observations.append((trial, outcome))

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def values(self) -> list[float | None]:
        return [trial.value for trial in self.study.trials]

    @property
    def reasons(self) -> list[str | None]:
        return [trial.reason for trial in self.study.trials]


@pytest.fixture
def search(make_study: Callable[..., Study], tmp_path: Path) -> Searching:
    return Searching(make_study(space=SPACE, metric="m"), tmp_path / "out")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(runner, "STORAGE_PATIENCE", 0.5)


def away(times: int, call: str) -> Callable[[str], BaseException | None]:
    """A storage that fails so many times at a call."""
    left = [times]

    def fails(made: str) -> BaseException | None:
        if made != call or left[0] == 0:
            return None
        left[0] -= 1
        return StorageError("cannot reach the storage")

    return fails


def test_tune_script__finished_trials__counted_reported_and_kept(search: Searching) -> None:
    search.run(PRINT, trials=3, parallel=2)
    params = [trial.params["x"] for trial in search.study.trials]
    assert search.values == params
    assert search.running == [0, 1, 2]
    assert sorted(trial.number for trial, _ in search.observations) == [0, 1, 2]
    folder = search.script(PRINT).folder(2)
    assert folder.load()["outcome"]["metrics"] == {"m": params[2]}
    assert not list(search.out.glob("*.lock"))
    search.run(PRINT, trials=3)
    assert len(search.study.trials) == 3


@pytest.mark.parametrize("call", ["observe", "suggest"])
def test_tune_script__storage_fails_for_a_while__nothing_is_lost(
    call: str, search: Searching
) -> None:
    search.study.fails = away(4, call)
    search.run("import sys, time; time.sleep(0.1); print('m:', sys.argv[1])", parallel=2)
    assert search.values == [trial.params["x"] for trial in search.study.trials]
    assert search.notes == ["cannot reach the storage; trying again, scripts run on"]
    assert search.study.calls.count("suggest") == 3 + 4 * (call == "suggest")


def test_tune_script__storage_fails_for_good__scripts_run_to_their_end_and_resume_stores_them(
    search: Searching,
) -> None:
    search.study.fails = away(10**9, "observe")
    slow = "import sys, time; time.sleep(int(sys.argv[2]) * 1.5); print('m:', sys.argv[1])"
    with pytest.raises(StorageError, match=r"kept in .*/out, and --resume stores it"):
        search.run(slow, trials=2, parallel=2)
    assert [trial.status for trial in search.study.trials] == [TrialStatus.PENDING] * 2
    search.study.fails = away(0, "observe")
    search.run(slow, trials=2)
    assert search.values == [trial.params["x"] for trial in search.study.trials]


def test_tune_script__others_observe_its_trial__the_search_goes_on(search: Searching) -> None:
    def fails(call: str) -> BaseException | None:
        first = call == "observe" and search.study.calls.count("observe") == 1
        if first:
            search.study.study.observe(search.study.trials[0], 7.0)
        return TrialError("trial 0 was observed before") if first else None

    search.study.fails = fails
    search.run(PRINT, trials=3)
    assert search.values[0] == 7.0
    assert len(search.values) == 3
    (note,) = search.notes
    assert note.startswith("trial 0 was observed before; what it found here is in /")
    assert note.endswith("trial-0000/optformer.json")


def test_tune_script__cannot_suggest__running_scripts_are_waited_for(search: Searching) -> None:
    error = TokenizationError("too long")
    search.study.fails = lambda call: (
        error if call == "suggest" and search.study.calls.count("suggest") > 2 else None
    )
    with pytest.raises(TokenizationError):
        search.run(
            "import sys, time; time.sleep(int(sys.argv[2])); print('m:', sys.argv[1])",
            trials=9,
            parallel=3,
        )
    assert search.values == [trial.params["x"] for trial in search.study.trials]


def test_tune_script__space_exhausted__raised_when_all_is_observed(search: Searching) -> None:
    search.study.fails = lambda call: (
        SpaceExhaustedError("all tried")
        if call == "suggest" and search.study.calls.count("suggest") > 2
        else None
    )
    with pytest.raises(SpaceExhaustedError):
        search.run(PRINT, trials=9)
    assert None not in search.values


ODD = {
    "empties its folder": "shutil.rmtree(out); os.mkdir(out); print('m:', 1)",
    "removes its folder": "shutil.rmtree(out); print('m:', 1)",
    "output becomes a folder": "os.remove(so); os.mkdir(so); print('m:', 1)",
    "output becomes a pipe": "os.remove(so); os.mkfifo(so); print('m:', 1)",
    "output becomes a device": "os.remove(so); os.symlink('/dev/zero', so); print('m:', 1)",
    "folder becomes a file": "shutil.rmtree(out); open(out, 'w'); print('m:', 1)",
    "makes the next folder": "os.makedirs(nxt + '/x'); print('m:', 1)",
    "makes two folders": "[os.makedirs(out[:-1] + n + '/x') for n in '12']; print('m:', 1)",
    "forges its record": "open(out + '/optformer.json', 'w').write('[' * 10**5); print('m:', 1)",
    "400 digits": "print('m:', '9' * 400)",
    "escapes": "print('\\x1b[2J\\x1b]0;x\\x07'); sys.exit('\\x1b[8mm: 99\\r\\x9b')",
    "no text": "sys.stdout.buffer.write(bytes(range(256)) * 99); print('m:', 1)",
    "kills its supervisor": "os.kill(os.getppid(), 9)",
    "fails without a log": "os.remove(se); sys.exit(1)",
}


@pytest.mark.parametrize("deed", ODD.values(), ids=ODD)
def test_tune_script__one_odd_trial__the_others_are_as_ever(deed: str, search: Searching) -> None:
    setup = (
        "import os, shutil, sys; out = os.environ['OPTFORMER_OUT']; so = out + '/stdout.txt';"
        "se = out + '/stderr.txt'; nxt = out[:-1] + '1';"
    )
    program = f"{setup}\nif sys.argv[2] == '0':\n {deed}\nelse: print('m:', sys.argv[1])"
    search.run(program, trials=4)
    trials = search.study.trials
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert TrialStatus.PENDING not in {trial.status for trial in trials}
    for trial in trials[1:]:
        assert trial.value == trial.params["x"] or "is already there" in (trial.reason or "")
    assert trials[3].value == trials[3].params["x"]
    reason = trials[0].reason
    assert trials[0].value == 1.0 if reason is None else reason.isprintable()


def test_tune_script__script_still_running_after_a_kill__waited_for(search: Searching) -> None:
    slow = "import sys, time; time.sleep(1); print('m:', sys.argv[1])"
    script = search.script(slow)
    trials = [search.study.study.suggest() for _ in range(2)]
    for trial in trials:
        script.start(trial)
    search.run(slow, trials=3, parallel=2)
    assert search.values == [trial.params["x"] for trial in search.study.trials]
    assert len(search.values) == 3


def test_tune_script__pending_trials_of_others__left_alone_and_counted(search: Searching) -> None:
    theirs = search.study.study.suggest()
    search.run(PRINT, trials=3)
    assert search.study.trials[theirs.number].status is TrialStatus.PENDING
    assert [trial.value is None for trial in search.study.trials] == [True, False, False]
    assert search.notes == ["note: pending trials that are run elsewhere are left alone: 0"]


def test_tune_script__killed_with_its_supervisors__interrupted_and_replaced(
    search: Searching,
) -> None:
    script = search.script("import os, time; os.kill(os.getppid(), 9); time.sleep(9)")
    trial = search.study.study.suggest()
    process = script.start(trial)
    wait_until(lambda: process.ended)
    search.run(PRINT, trials=2)
    assert search.reasons == ["interrupted", None, None]


def test_tune_script__all_fail__ends_with_the_last_reason(search: Searching) -> None:
    with pytest.raises(ObjectiveError, match="all of the first 5 trials failed; trial 4: exit"):
        search.run("exit(3)", trials=9)


def test_tune_script__disk_full_when_a_script_starts__tried_again(
    search: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, attempts = Script.start, []

    def full_at_first(self: Script, trial: Trial) -> ScriptProcess:
        attempts.append(trial.number)
        if len(attempts) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return start(self, trial)

    monkeypatch.setattr(Script, "start", full_at_first)
    search.run(PRINT, trials=2)
    assert attempts == [0, 0, 0, 0, 1]
    assert search.values == [trial.params["x"] for trial in search.study.trials]


def test_tune_script__stopped_while_a_trial_waits_for_space__interrupted(
    search: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Script, trial: Trial) -> ScriptProcess:
        search.stop.request()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Script, "start", full)
    with pytest.raises(StorageError, match="cannot start trial 0"):
        search.run(PRINT, trials=2)


def test_tune_script__others_finish_trials__counted(
    search: Searching, reopen: Callable[..., Study]
) -> None:
    def other_search(call: str) -> None:
        if call == "suggest" and search.study.calls.count("suggest") == 1:
            for _ in range(2):
                search.study.study.observe({"x": 0.5}, 1.0)

    search.study.fails = other_search
    search.run(PRINT, trials=3)
    assert len(search.values) == 3


def test_check_folder__trials_of_another_study__refused(
    search: Searching, make_study: Callable[..., Study]
) -> None:
    search.run(PRINT, trials=2)
    check_folder(search.study.study, search.out)
    other = make_study(space=SPACE, metric="m", seed=1)
    with pytest.raises(StudyError, match=r"trial-0000 holds a trial of another search"):
        check_folder(other, search.out)
    other.suggest(2)
    with pytest.raises(StudyError, match=r"trial-0000 holds a trial of another search"):
        check_folder(other, search.out)


@pytest.mark.filterwarnings("ignore:trial 0. metric")
@pytest.mark.parametrize(
    "outcome",
    [
        {"metrics": {"m": "x"}, "reason": None, "seconds": 1.0, "sources": {}},
        {"metrics": {}, "reason": None, "seconds": 1.0, "sources": {}},
        {"metrics": {"m": float("nan")}, "reason": None, "seconds": 1.0, "sources": {}},
    ],
)
def test_tune_script__outcome_changed_by_hand__fails_the_trial(
    outcome: dict[str, Any], search: Searching
) -> None:
    trial = search.study.study.suggest()
    folder = search.script(PRINT).folder(trial.number)
    folder.create({"params": dict(trial.params), "outcome": outcome})
    search.run(PRINT, trials=2)
    assert [trial.has_value for trial in search.study.trials] == [False, True]


@pytest.fixture
def pruned(
    make_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Searching:
    """A search that stops a trial early when it reports more than 10."""
    monkeypatch.setattr(runner, "_CURVE_SECONDS", 0.05)
    study = make_study(
        space=SPACE, metric="m", storage=f"{tmp_path}/s.journal", pruner="threshold(upper=10)"
    )
    return Searching(study, tmp_path / "out")


# The second trial grows without end, beside a child.
CURVE = """
import os, signal, subprocess, sys, time
number = int(sys.argv[2])
if number == 1:
    child = subprocess.Popen(["sleep", "60"])
    open(os.environ["OPTFORMER_OUT"] + "/child", "w").write(str(child.pid))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
for step in range(600 if number == 1 else 3):
    print("m:", number * step * 6 + 1, flush=True)
    time.sleep(0.05)
"""


def test_tune_script__curve_above_the_threshold__ended_with_its_children_and_stored(
    pruned: Searching,
) -> None:
    pruned.run(CURVE, trials=3, parallel=2)
    one, two, three = pruned.study.trials
    assert (one.status, two.status) == (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    assert one.intermediate_values == {0: 1.0, 1: 1.0, 2: 1.0}
    curve = two.intermediate_values
    assert curve == {step: 6.0 * step + 1 for step in range(len(curve))}
    assert two.value == curve[max(curve)] > 10
    assert len(curve) < 300
    folder = pruned.script("").folder(1)
    assert has_ended((folder.path / "child").read_text())
    assert folder.load()["ending"]["pruned"]
    assert set(pruned.curve) >= {(0, 2, 1.0), (1, 2, 13.0)}
    assert pruned.running == [0, 1, 2]
    assert three.number == 2


def test_tune_script__killed_while_scripts_run__their_curves_go_on(pruned: Searching) -> None:
    script = pruned.script(CURVE)
    first, second = pruned.study.study.suggest(2)
    script.start(first)
    second.report(1.0, 0)
    second.report(7.0, 1)
    script.start(second)
    output = script.folder(1).path / "stdout.txt"
    wait_until(lambda: output.exists() and b"m: 31" in output.read_bytes())
    pruned.run(CURVE, trials=2)
    one, two = pruned.study.trials
    assert one.intermediate_values == {0: 1.0, 1: 1.0, 2: 1.0}
    assert (two.status, two.intermediate_values[5]) == (TrialStatus.STOPPED, 31.0)
    assert (1, 1, 7.0) not in pruned.curve


def test_tune_script__stopped_by_its_user__trials_are_interrupted_and_not_stopped_early(
    pruned: Searching,
) -> None:
    pruned.stop = StopWhen(lambda: len(pruned.curve) > 3)
    with suppress(ObjectiveError):
        pruned.run("import time\nwhile 1: print('m: 1', flush=True); time.sleep(0.05)")
    assert pruned.reasons == ["interrupted"]


@pytest.mark.parametrize("output", ["m: 9\nval m: 3\nm: 8", "m: nan"])
def test_tune_script__odd_curve__changes_nothing_for_the_others(
    output: str, pruned: Searching
) -> None:
    program = f"import sys\nprint({output!r} if sys.argv[2] == '1' else 'm: 1')"
    pruned.run(program, trials=3)
    assert [trial.value for trial in pruned.study.trials] in ([1, 8, 1], [1, None, 1])


def test_tune_script__others_have_given_a_trial_up__what_came_of_it_is_stored(
    search: Searching,
) -> None:
    slow = "import sys, time; time.sleep(0.5); print('m:', sys.argv[1])"
    script = search.script(slow)
    trial = search.study.study.suggest()
    script.start(trial)
    search.study.study.observe(trial, failed=INTERRUPTED)
    search.run(slow, trials=1)
    given_up, late = search.study.trials
    assert given_up.interrupted
    assert late.value == trial.params["x"]
    search.run(slow, trials=1)
    assert len(search.study.trials) == 2


def test_tune_script__killed_before_a_script_started__its_trial_is_given_up_at_once(
    make_study: Callable[..., Study], reopen: Callable[..., Study], tmp_path: Path
) -> None:
    address = f"{tmp_path}/s.journal"
    search = Searching(make_study(space=SPACE, metric="m", storage=address), tmp_path / "out")
    if (child := os.fork()) == 0:
        reopen(address).suggest()
        os._exit(0)
    os.waitpid(child, 0)
    search.run(PRINT, trials=2)
    assert search.reasons == ["interrupted", None, None]
    assert search.notes == []


def test_tune_script__searches_in_two_processes__together_run_no_more_than_wanted(
    make_study: Callable[..., Study], reopen: Callable[..., Study], tmp_path: Path
) -> None:
    address = f"{tmp_path}/s.journal"
    searches = [
        Searching(study, tmp_path / name)
        for study, name in (
            (make_study(space=SPACE, metric="m", storage=address), "one"),
            (reopen(address), "two"),
        )
    ]
    threads = [
        threading.Thread(target=search.run, args=[PRINT], kwargs={"trials": 7, "parallel": 3})
        for search in searches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = searches[0].study.trials
    assert len(trials) == 7
    assert all(trial.has_value for trial in trials)
    assert sum(len(search.running) for search in searches) == 7
