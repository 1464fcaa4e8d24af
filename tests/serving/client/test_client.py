"""Studies of a server, where they differ from local ones: offline, copied, and by name."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from optformer.data.studies.errors import OptFormerWarning, StorageError, StudyError, TrialError
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Weighted
from optformer.data.studies.trials import TrialStatus
from optformer.serving.client.client import Client
from optformer.serving.client.connection import Connection
from optformer.serving.client.remote_study import RemoteStudy
from optformer.serving.study.study import create_study, suggest_many


@pytest.fixture
def client(connection: Connection, tmp_path: Path) -> Client:
    return Client(connection, tmp_path / "unsent")


@pytest.fixture
def study(client: Client, space: SearchSpace) -> RemoteStudy:
    return client.create_study(space, metric="accuracy", goal="maximize", name="a b/c", seed=0)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Cuts the way to the server, or mends it."""
    import httpx

    send = Connection._send

    def away(self: Connection, *args: Any) -> Any:
        raise httpx.ConnectError("cut")

    def change(broken: bool) -> None:
        monkeypatch.setattr(Connection, "_send", away if broken else send)

    yield change
    change(False)


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "unsent").rglob("*.json"))


def test_client__studies__are_created_listed_opened_and_deleted(
    client: Client, study: RemoteStudy, space: SearchSpace
) -> None:
    assert client.list_studies() == ["a b/c"]
    again = client.load_study()
    assert (again.name, again.seed, again.config) == ("a b/c", 0, study.config)
    drawn = client.create_study(space, metrics={"a": "maximize", "b": "minimize"})
    assert drawn.config.goals == {"a": "maximize", "b": "minimize"}
    assert client.load_study(drawn.name).seed == drawn.seed
    with pytest.raises(StudyError, match=r"load_study needs name=; this server has \['a b/c', "):
        client.load_study()
    client.delete_study(drawn.name)
    for call in (client.delete_study, client.load_study):
        with pytest.raises(StudyError, match="there is no study 'gone'; this server has"):
            call("gone")
    with pytest.raises(StudyError, match="there is no study"):
        drawn.suggest()


def test_predict__more_points_than_a_request_takes__are_asked_in_turn(
    study: RemoteStudy, point: dict[str, Value]
) -> None:
    study.observe(point, 0.5)
    predicted = study.predict([{**point, "x": 1e-3 + i * 1e-6} for i in range(1100)])
    assert [p.mean for p in predicted[::1099]] == [1.001, pytest.approx(1.001 + 1099e-6)]


def test_storage__address_of_a_server__says_what_to_do(space: SearchSpace) -> None:
    with pytest.raises(StorageError, match=r"is the address of a server, .* optformer\.connect"):
        create_study(space, metric="a", goal="maximize", storage="http://host:8000")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"name": "a b/c"}, "study 'a b/c' is already on this server; open it with"),
        ({"strategy": "best"}, "strategy must be one of"),
        ({"pruner": 3}, "given by its name, got 3"),
        ({"name": " "}, "name must be text"),
        ({"goal": None}, "needs metric= and goal="),
    ],
)
def test_create_study__illegal_setting__is_refused(
    client: Client, study: RemoteStudy, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(StudyError, match=text):
        client.create_study(study.config.space, **{"metric": "m", "goal": "minimize", **settings})
    assert client.list_studies() == ["a b/c"]


def test_observe__server_away__is_kept_and_sent_with_the_next_call(
    study: RemoteStudy, cut: Callable[[bool], None], tmp_path: Path, point: dict[str, Value]
) -> None:
    trial, late = study.suggest(2)
    cut(True)
    with pytest.warns(OptFormerWarning, match="trial 0 .* could not be sent: .* kept in") as seen:
        finished = study.observe(trial, {"accuracy": 0.5, "epoch": 3})
    assert seen[0].filename == __file__
    assert (finished.number, finished.value, finished.metrics["epoch"]) == (0, 0.5, 3.0)
    with pytest.warns(OptFormerWarning, match="a point of study 'a b/c'"):
        assert study.observe(point, 0.25).number == -1
    (first, second) = kept(tmp_path)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    assert json.loads(second.read_text())["body"]["value"] == 0.25
    with pytest.raises(StorageError, match="cannot reach"):
        study.suggest()
    cut(False)
    assert study.observe(late, 0.75).number == 1
    assert [trial.value for trial in study.trials] == [0.5, 0.75, 0.25]
    assert kept(tmp_path) == []


def test_observe__answer_lost__counts_once(
    study: RemoteStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point: dict[str, Value]
) -> None:
    import httpx

    send, lost = Connection._send, []

    def lose(self: Connection, method: str, *args: Any) -> Any:
        answer = send(self, method, *args)
        if method == "POST" and not lost:
            lost.append(answer)
            raise httpx.ReadError("the answer was lost")
        return answer

    monkeypatch.setattr(Connection, "_send", lose)
    for call in (
        lambda: study.suggest(),
        lambda: study.observe(study.trials[0], 1.0),
        lambda: study.observe(point, 2.0),
        lambda: study.enqueue({"layers": 3}),
    ):
        lost.clear()
        call()
    trials = study.trials
    assert [trial.value for trial in trials] == [1.0, 2.0, None]
    assert kept(tmp_path) == []


def test_flush__of_the_client__sends_what_a_killed_process_has_left(
    client: Client, study: RemoteStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trial = study.suggest()

    def killed(self: Connection, *args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "_send", killed)
        with pytest.raises(KeyboardInterrupt):
            study.observe(trial, 0.5)
    assert len(kept(tmp_path)) == 1
    assert client.flush() == 1
    assert study.trials[0].value == 0.5
    assert client.flush() == 0


def test_flush__refused_observation__is_told_and_kept_aside(
    client: Client, study: RemoteStudy, cut: Callable[[bool], None], tmp_path: Path
) -> None:
    trial = study.suggest()
    cut(True)
    with pytest.warns(OptFormerWarning, match="kept in"):
        study.observe(trial, 0.5)
    cut(False)
    (file,) = kept(tmp_path)
    hidden = file.rename(tmp_path / "meanwhile")
    client.load_study(study.name).observe(study.trials[0], 0.75)  # by somebody else
    hidden.rename(file)
    (file.parent / "0-damaged.json").write_text("{")
    with pytest.warns(OptFormerWarning) as seen:
        study.flush()
    told = [str(warning.message) for warning in seen]
    assert "is refused: the file is damaged" in told[0]
    assert "is refused: trial 0 of study 'a b/c' was observed before" in told[1]
    assert [trial.value for trial in study.trials] == [0.75]
    aside = sorted(path.name for path in kept(tmp_path))
    assert aside == ["0-damaged.json", file.name]
    assert {path.parent.name for path in kept(tmp_path)} == {"refused"}
    assert study.flush() == 0


def test_observe__no_room_to_keep_it__says_both(
    connection: Connection, study: RemoteStudy, cut: Callable[[bool], None], tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("no folder")
    blocked = Client(connection, tmp_path / "full").load_study(study.name)
    assert blocked.observe(blocked.suggest(), 0.5).value == 0.5  # the server has it
    trial = blocked.suggest()
    cut(True)
    with pytest.raises(StorageError, match=r"cannot reach .* cannot be kept in .*full"):
        blocked.observe(trial, 0.5)


def test_copy__study_and_trials__reach_the_server_again(study: RemoteStudy) -> None:
    trial = study.suggest()
    copied = pickle.loads(pickle.dumps(study))
    assert isinstance(copied, RemoteStudy)
    assert copied.trials == study.trials
    pickle.loads(pickle.dumps(trial)).report(0.5, 0)
    assert study.trials[0].intermediate_values == {0: 0.5}
    copied.observe(trial, 0.75)
    with pytest.raises(TrialError, match="trial 0 of study 'a b/c' was observed before"):
        study.observe(trial, 0.5)


def test_fork__child_and_parent__use_connections_of_their_own(study: RemoteStudy) -> None:
    trials = study.suggest(3)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=study.observe, args=(t, t.number / 8)) for t in trials[:2]]
    for child in children:
        child.start()
    study.observe(trials[2], 0.25)
    for child in children:
        child.join()
    assert [trial.value for trial in study.trials] == [0.0, 0.125, 0.25]


def test_heartbeat__trials_held_here__stay_alive_until_observed(
    study: RemoteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[str] = []
    call = Connection.call

    def noted(self: Connection, method: str, path: str, *args: Any, **options: Any) -> Any:
        beats.extend([path] if path.endswith("heartbeat") else [])
        return call(self, method, path, *args, **options)

    monkeypatch.setattr(Connection, "call", noted)
    trial = study.suggest()
    heartbeat = study._remote._heartbeat
    assert heartbeat._trials == {0}
    assert heartbeat._seconds == 60.0  # of a lease of 300
    heartbeat._beat(0)
    study.observe(trial, 0.5)
    assert heartbeat._trials == set()
    assert beats == ["/v1/studies/a%20b%2Fc/trials/0/heartbeat"]
    with pytest.raises(KeyError):  # so that the heartbeat leaves it alone
        heartbeat._beat(0)
    other = study.enqueue({"layers": 3})
    study.adopt(other)
    assert heartbeat._trials == {1}


def test_report__pruner_of_the_server__stops_a_trial(client: Client, space: SearchSpace) -> None:
    study = client.create_study(
        space, metric="accuracy", goal="maximize", pruner="threshold(lower=0.5)"
    )
    trial = study.suggest()
    trial.report(0.75, 0)
    assert not trial.should_prune()
    trial.report(0.25, 1)
    with pytest.warns(OptFormerWarning, match="reported 0.25 at step 1 before"):
        trial.report(0.75, 1)
    assert trial.should_prune()
    trial.set_user_attr("note", "too slow")
    stopped = study.observe(trial, stopped=True)
    assert (stopped.status, stopped.value) == (TrialStatus.STOPPED, 0.25)
    assert stopped.user_attrs["note"] == "too slow"


def test_report__weighted_metrics__are_weighed_by_the_server(
    client: Client, space: SearchSpace
) -> None:
    study = client.create_study(space, metric=Weighted(a=1.0, b=-2.0), goal="maximize")
    trial = study.suggest()
    trial.report({"a": 1.0, "b": 0.25}, 0)
    assert study.observe(trial, stopped=True).value == 0.5


def test_optimize__several_workers__is_the_same_code(client: Client, space: SearchSpace) -> None:
    study = client.create_study(space, metric="accuracy", goal="maximize")
    study.optimize(lambda trial: float(trial.params["layers"]), trials=6, workers=2, progress=False)
    assert study.best_value == max(float(trial.params["layers"]) for trial in study.trials)
    assert len(suggest_many([study, study])) == 2
    first = study.suggest_within(1)
    assert first is None
    assert study.suggest_within(100) is not None
