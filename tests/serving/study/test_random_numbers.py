"""No call draws from the random numbers of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CALLS = """
import random
import sys
from pathlib import Path

import numpy as np
import torch

random.seed(1), np.random.seed(2), torch.manual_seed(3)


def state():
    drawn = np.random.get_state()
    return random.getstate(), drawn[1].tobytes(), drawn[2], torch.get_rng_state().tolist()


before = state()


def unchanged(what):
    if state() != before:
        print(what)


import optformer as of

unchanged("import")
folder = Path(sys.argv[1])
space = of.SearchSpace(
    x=of.Float(0, 1), c=of.Categorical(["a", "b"]), n=of.Int(1, 9, when={"c": ["b"]})
)
of.save_space(space, folder / "s.yaml")
of.load_space(folder / "s.yaml")
settings = {"metric": "m", "goal": "maximize"}
study = of.create_study(space, **settings, storage=f"sqlite:///{folder / 'a.db'}", name="s")
study.observe(study.suggest(), 0.5)
unchanged("first suggestion")
for trial in study.suggest(4):
    study.observe(trial, 0.5 + trial.params["x"])
study.predict([{"x": 0.5, "c": "a"}])
of.load_study(storage=f"sqlite:///{folder / 'a.db'}").suggest()
unchanged("stored study")
study.optimize(lambda trial: trial["x"], trials=7)
unchanged("optimize")
study.trials_dataframe()
study.importances()
unchanged("importances")
of.plot_history(study, folder / "h.png")
of.plot_response(study, "x", folder / "r.png")
unchanged("plots")
for strategy in ("ts",):
    other = of.create_study(space, **settings, strategy=strategy, pruner="median")
    other.optimize(lambda trial: trial["x"], trials=3)
    unchanged(strategy)
goals = of.create_study(space, metrics={"a": "maximize", "b": "minimize"})
goals.observe({"x": 0.5, "c": "a"}, {"a": 1, "b": 2})
goals.suggest(2)
unchanged("several goals")
import optuna

unchanged("import optuna")
search = optuna.create_study(sampler=of.OptFormerSampler(seed=0))
search.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
unchanged("sampler")
of.list_studies(f"sqlite:///{folder / 'a.db'}")
of.delete_study("s", f"sqlite:///{folder / 'a.db'}")
unchanged("delete")
"""


def test_public_calls__global_generators__stay_as_they_were(tmp_path: Path) -> None:
    script = tmp_path / "calls.py"
    script.write_text(_CALLS)
    done = subprocess.run(
        [sys.executable, "-P", str(script), str(tmp_path)], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr[-2000:]
