"""The verbs of a study over HTTP."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import TrialStatus
from optformer.serving.service.wire import trial_from_wire
from optformer.serving.study.study import load_study


def suggested(client: TestClient, study: str, **ask: Any) -> list[dict[str, Any]]:
    answer = client.post(f"{study}/suggestions", json=ask)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["trials"])


def test_studies__created__are_listed_read_and_deleted(client: TestClient, study: str) -> None:
    assert client.get("/v1/studies").json() == {"names": ["my study/1"]}
    read = client.get(study).json()
    assert StudyConfig.from_dict(read["config"]).metric == "accuracy"
    assert (read["seed"], read["strategy"], read["pruner"]) == (0, "ei", None)
    assert client.delete(study).status_code == 204
    assert client.get(study).status_code == 404


def test_suggest__then_observe__stores_what_the_library_reads(
    client: TestClient, study: str, storage: str
) -> None:
    first, second = suggested(client, study, count=2, fixed={"kind": "b"})
    assert first["params"]["kind"] == second["params"]["kind"] == "b"
    assert first["explanation"]["source"] == "space"
    done = client.post(f"{study}/trials/0/observation", json={"value": 0.5}).json()
    assert (done["trial"]["status"], done["warnings"]) == ("completed", [])
    loaded = load_study(storage=storage, name="my study/1").trials
    assert [t.status for t in loaded] == [TrialStatus.COMPLETED, TrialStatus.PENDING]
    read = client.get(f"{study}/trials").json()["trials"]
    assert [trial_from_wire(each, "my study/1") for each in read] == loaded


def test_observe__numbers_that_json_lacks__fail_the_trial(client: TestClient, study: str) -> None:
    suggested(client, study)
    done = client.post(f"{study}/trials/0/observation", json={"value": "NaN"}).json()
    assert done["trial"]["status"] == "failed"
    assert "nan" in done["warnings"][0]


def test_report__of_a_step_told_before__warns_and_keeps_it(client: TestClient, study: str) -> None:
    suggested(client, study)
    for value, warned in ((0.5, 0), ("Infinity", 1)):
        told = client.post(f"{study}/trials/0/reports", json={"step": 3, "value": value}).json()
        assert len(told["warnings"]) == warned
    client.post(f"{study}/trials/0/reports", json={"step": 4, "value": "Infinity"})
    trial = client.get(f"{study}/trials/0").json()
    assert trial["intermediate_values"] == {"3": 0.5, "4": "Infinity"}
    assert trial_from_wire(trial, "s").intermediate_values == {3: 0.5, 4: math.inf}
    assert client.post(f"{study}/trials/0/should-prune").json() == {"should_prune": False}
    stopped = client.post(f"{study}/trials/0/observation", json={"value": 0.5, "stopped": True})
    assert stopped.json()["trial"]["status"] == "stopped"


def test_enqueue__some_values__are_handed_out_first(client: TestClient, study: str) -> None:
    assert client.post(f"{study}/enqueued", json={"params": {"x": 0.25}}).status_code == 201
    assert suggested(client, study)[0]["params"]["x"] == 0.25


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("suggestions", {"count": 0}, 422, "count"),
        ("suggestions", {"counts": 1}, 422, "counts"),
        ("trials/0/observation", {"value": 1.0}, 404, "number"),
        ("observations", {"params": {"x": 0.5, "kind": None}}, 422, "body"),
    ],
)
def test_requests__that_are_wrong__are_told_where(
    client: TestClient, study: str, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    answer = client.post(f"{study}/{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["faults"][0]["field"] == field
    assert client.get(f"{study}/trials").json() == {"trials": []}


def test_requests__with_an_unknown_field__are_told_the_known_ones(
    client: TestClient, study: str
) -> None:
    for path, known in (("suggestions", "budget"), ("predictions", "points")):
        (fault,) = [
            fault
            for fault in client.post(f"{study}/{path}", json={"cuont": 1}).json()["faults"]
            if fault["field"] == "cuont"
        ]
        assert fault["expected"].startswith("no such field is known; known are ")
        assert known in fault["expected"]


def test_reference__every_request__is_in_it(client: TestClient) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "service.md").read_text()
    told = {tuple(line.split("`")[1].split()) for line in page.splitlines() if "| `" in line[:3]}
    paths = client.get("/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert there - told == set()


def test_metrics__of_names_that_come_and_go__have_bounded_labels(
    client: TestClient, study: str
) -> None:
    suggested(client, study, count=3)
    client.post(f"{study}/trials/0/observation", json={"value": 1.0})
    for number in range(3):
        client.get(f"/v1/studies/nothing-{number}")
        client.get(f"/nothing-{number}")
        client.request(f"M{number}", "/v1/studies")
    told = client.get("/metrics").text
    assert "nothing" not in told
    assert 'method="M' not in told
    assert "optformer_suggestions_total 3.0" in told
    assert 'optformer_observations_total{status="completed"} 1.0' in told
    assert 'route="/v1/studies/{name}",status="404"} 3.0' in told
    assert "optformer_batch_size_count 1.0" in told


def test_errors__of_a_trial_that_has_ended__name_its_number(client: TestClient, study: str) -> None:
    suggested(client, study)
    for status, value in ((200, 1.0), (409, 2.0)):
        answer = client.post(f"{study}/trials/0/observation", json={"value": value})
        assert answer.status_code == status
    assert answer.json()["faults"][0]["field"] == "number"
    for verb, body in (
        ("reports", {"step": 0, "value": 1.0}),
        ("should-prune", None),
        ("heartbeat", {}),
        ("user-attributes", {"key": "a", "value": 1}),
    ):
        answer = client.post(f"{study}/trials/0/{verb}", json=body)
        assert (answer.status_code, answer.json()["error"]) == (409, "TrialError")
        assert answer.json()["faults"][0]["field"] == "number"
    assert client.get(f"{study}/trials/0").json()["value"] == 1.0
