"""The Trainer of transformers searches with the sampler, and ends what the pruner gives up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest

import optformer as of

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "tune-the-transformers-trainer.md"


@pytest.mark.slow
def test_guide__trainer__searches_and_prunes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL):
        exec(compile(code, str(GUIDE), "exec"), names)
    trials, best = names["study"].trials, names["best"]
    assert len(trials) == 4
    assert {trial.status.value for trial in trials} <= {"completed", "stopped"}
    assert best.objective == max(trial.value for trial in trials if trial.status.value != "stopped")
    assert best.hyperparameters == dict(trials[int(best.run_id)].params)
    with pytest.raises(ValueError):  # there is no best trial
        names["trainer"].hyperparameter_search(
            hp_space=names["space"],
            compute_objective=lambda metrics: metrics["eval_accuracy"],
            direction="maximize",
            n_trials=2,
            sampler=of.OptFormerSampler(seed=0),
            pruner=optuna.pruners.ThresholdPruner(lower=1.5),  # no accuracy is as high
            study_name="pruned",
            storage="sqlite:///trainer.db",
        )
    pruned = of.load_study(storage="sqlite:///trainer.db", name="pruned").trials
    assert [trial.status for trial in pruned] == [of.TrialStatus.STOPPED] * 2
    assert all(len(trial.intermediate_values) == 1 for trial in pruned)
