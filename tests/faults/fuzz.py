"""Random legal studies and calls: own errors only, legal suggestions, equal after loading.

    python tests/faults/fuzz.py                 # 2,000 studies
    python tests/faults/fuzz.py --examples 100
    python tests/faults/fuzz.py --seconds 600   # as many of the 2,000 as it has time for

Each study has a space, a history and calls drawn by hypothesis, a small model with random weights
(a bad model must not matter) or now and then the shipped one, and lives in memory or in a file.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import optformer as of
from optformer.model.checkpoint import save_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import default_vocabulary

FINITE = st.floats(-1e12, 1e12)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
VALUES = st.one_of(st.integers(-9, 99), st.floats(-1e6, 1e6), TEXT, st.booleans(), st.none())
METRICS = st.one_of(
    st.floats(0.0, 1.0), st.floats(-1e6, 1e6), st.floats(-1e300, 1e300), st.sampled_from([0.1, 0.5])
)


@st.composite
def bounds(draw: st.DrawFn, positive: bool) -> tuple[float, float]:
    """Lower and upper bounds, near or far apart, large or small."""
    size = 10.0 ** draw(st.integers(-12, 12))
    low = size * draw(st.floats(0.01, 1.0) if positive else st.floats(-1.0, 1.0))
    width = size * 10.0 ** draw(st.integers(-3, 3)) * draw(st.floats(0.1, 1.0))
    return low, low + width


@st.composite
def parameters(draw: st.DrawFn, when: dict[str, list[Any]] | None) -> Any:
    """A parameter of any kind."""
    described = draw(st.one_of(st.just(""), TEXT))
    kind = draw(st.sampled_from(["float", "log", "step", "int", "log int", "choice", "order"]))
    if kind in ("float", "log"):
        low, high = draw(bounds(kind == "log"))
        return of.Float(low, high, log=kind == "log", when=when, description=described)
    if kind == "step":
        low, step = draw(st.integers(-50, 50)) / 10, draw(st.integers(1, 20)) / 10
        levels = draw(st.sampled_from([1, 2, 3, 10, 100, 5000, 10**7]))
        return of.Float(low, low + step * levels, step=step, when=when, description=described)
    if kind == "int":
        low, width = draw(st.integers(-100, 100)), draw(st.sampled_from([1, 2, 9, 5000, 10**9]))
        step = draw(st.integers(1, min(width, 7)))
        return of.Int(low, low + width, step=step, when=when, description=described)
    if kind == "log int":
        low, factor = draw(st.integers(1, 9)), draw(st.sampled_from([2, 10, 5000, 10**9]))
        return of.Int(low, low * factor, log=True, when=when, description=described)
    choices = draw(st.lists(VALUES, min_size=1, max_size=6, unique_by=lambda v: (type(v), v)))
    return (of.Categorical if kind == "choice" else of.Ordinal)(choices, when, described)


@st.composite
def spaces(draw: st.DrawFn) -> of.SearchSpace:
    """A space of 1 to 6 parameters, some of them conditional."""
    found: dict[str, Any] = {}
    for name in draw(st.lists(TEXT, min_size=1, max_size=6, unique=True)):
        when = None
        if found and draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(found)))
            count, unit = draw(st.integers(1, 2)), draw(st.floats(0, 1))
            ends = [found[parent].sample(_rng(int(unit * 1e6) + i)) for i in range(count)]
            when = {parent: ends}
        found[name] = draw(parameters(when))
    return of.SearchSpace(found)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


class Fuzz:
    """Plays studies.

    Args:
        folder: An empty folder for models and storages.
    """

    def __init__(self, folder: Path):
        self.folder, self.played, self.suggested, self.refused = folder, 0, 0, 0
        vocabulary = default_vocabulary()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
            for weight in model.state_dict().values():
                weight.copy_(torch.randn(weight.shape) * 0.3)
        save_checkpoint(folder / "tiny", model, vocabulary, {})

    def play(self, data: st.DataObject) -> None:
        """Draw one study and play it."""
        self.played += 1
        try:
            space = data.draw(spaces())
        except (
            of.OptFormerError
        ):  # a parameter that this draw made impossible, such as equal choices
            self.refused += 1
            return
        stored = data.draw(st.integers(0, 9)) == 0
        storage = f"sqlite:///{self.folder / f'{self.played}.db'}" if stored else None
        told: dict[str, Any] = {
            "metric": data.draw(TEXT),
            "goal": data.draw(st.sampled_from(["maximize", "minimize"])),
            "seed": data.draw(st.integers(0, 2**31)),
            "metadata": data.draw(st.dictionaries(TEXT, TEXT, max_size=2)),
            "model": None if data.draw(st.integers(0, 49)) == 0 else self.folder / "tiny",
            "metric_range": data.draw(st.sampled_from([None, (0, 1), (0, None)])),
        }
        study = of.create_study(space, name="fuzz", storage=storage, **told)
        for number in range(data.draw(st.integers(0, 15))):
            self._observe(data, study, space.sample(_rng(number)))
        for count in data.draw(st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=2)):
            self._suggest(data, study, count)
        if stored:
            copy = shutil.copy(
                self.folder / f"{self.played}.db", self.folder / f"{self.played}-2.db"
            )
            again = of.load_study(storage=f"sqlite:///{copy}", model=told["model"])
            assert again.trials == study.trials
            assert self._next(again) == self._next(study)

    def _suggest(self, data: st.DataObject, study: of.Study, count: int) -> None:
        space, fixed = study.config.space, None
        if data.draw(st.integers(0, 3)) == 0:
            name = data.draw(st.sampled_from(list(space)))
            fixed = {name: space[name].sample(_rng(count))}
        try:
            trials = study.suggest(count, fixed=fixed)
        except of.SpaceExhaustedError:
            return
        for trial in trials:
            self.suggested += 1
            params = dict(trial.params)
            assert space.validate(params) == params, (params, space)
            for name, value in (fixed or {}).items():
                assert params.get(name, value) == value
            if data.draw(st.integers(0, 4)):
                self._observe(data, study, trial)
        points = [space.sample(_rng(number)) for number in range(3)]
        points += [dict(trial.params) for trial in study.trials if trial.value is not None][:3]
        if not any(trial.value is not None for trial in study.trials):
            return
        for prediction in study.predict(points):
            told = [prediction.mean, prediction.std, *prediction.quantiles.values()]
            told += [prediction.probability_of_improvement, prediction.probability_of_failure]
            told += [prediction.expected_improvement]
            assert all(map(math.isfinite, told)), told
            assert list(prediction.quantiles.values()) == sorted(prediction.quantiles.values())
            assert prediction.std >= 0
            assert prediction.expected_improvement >= 0

    def _observe(self, data: st.DataObject, study: of.Study, trial: Any) -> None:
        if data.draw(st.integers(0, 5)) == 0:
            study.observe(trial, failed=data.draw(st.sampled_from(["oom", "interrupted"])))
        else:
            study.observe(trial, data.draw(METRICS))

    @staticmethod
    def _next(study: of.Study) -> Any:
        """The next point, None when there is none."""
        try:
            return dict(study.suggest().params)
        except of.SpaceExhaustedError:
            return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so long")
    parser.add_argument("--seed", type=int, help="drawn by hypothesis when absent")
    args = parser.parse_args()
    warnings.simplefilter("ignore", of.OptFormerWarning)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        fuzz = Fuzz(Path(name))

        @settings(
            max_examples=args.examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            print_blob=True,
        )
        @given(data=st.data())
        def played(data: st.DataObject) -> None:
            if time.monotonic() - started < args.seconds:
                fuzz.play(data)
            if fuzz.played % 100 == 0:
                print(f"{fuzz.played} studies, {time.monotonic() - started:.0f} s", flush=True)

        if args.seed is not None:
            played = seed(args.seed)(played)
        played()
        print(
            f"{fuzz.played} studies, {fuzz.suggested} suggestions, {fuzz.refused} impossible "
            f"spaces refused, {time.monotonic() - started:.0f} s: no fault"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
