"""Says whether two installations of optformer behave the same, to the last bit.

    python tests/equal_behaviour.py record OUT.json
    python tests/equal_behaviour.py compare --before OLD/bin/python --after NEW/bin/python

`record` asks the optformer of its interpreter for suggestions, predictions, logits, histories and
short training runs; `compare` does so with two interpreters and names the first differences. What
modules are called is none of its business, but for the few names that `PLACES` lists.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

STRATEGIES = ("ei", "pi", "ucb", "ts")
PLACES = {  # what the public face does not offer, and where it has been
    "main": ("optformer.serving.cli:main",),
    "encode_study": (
        "optformer.tokenization.study_codec:encode_study",
        "optformer.tokenization:encode_study",
    ),
    "transformers": (
        "optformer.transformers_wrapper",
        "optformer.huggingface.modeling_optformer",
    ),
}
METHODS = (
    "random,quasi-random,grid,shuffled-grid,hill-climbing,simulated-annealing,"
    "relaxed-cma-es,regularized-evolution,learned-evolution,gp-ei,gp-ucb"
)
PRIOR: dict[str, Any] = {
    "parameters": {1: 0.2, 3: 0.3, 6: 0.3, 10: 0.2},
    **{"tokens": 512, "max_trials": 32, "probes": 8, "spare": 16, "mined": 4, "mining": 0.5},
}
RUN: dict[str, Any] = {
    **{"model": "tiny", "seed": 3, "steps": 10, "warmup": 3, "checkpoint_every": 5},
    **{"log_every": 1, "workers": 0, "validate_every": 0, "peak_teraflops": 1.0, "prior": PRIOR},
}
logger = logging.getLogger("equal_behaviour")


def first_of(*places: str) -> Any:
    """The first `module:attribute`, or `module`, of these that can be imported."""
    faults = []
    for place in places:
        module, _, name = place.partition(":")
        try:
            found = import_module(module)
            return getattr(found, name) if name else found
        except (ImportError, AttributeError) as error:
            faults.append(f"{place}: {error}")
    raise ImportError("; ".join(faults))


class Recording:
    """What was seen, case by case: pairs of a label and an exact text."""

    def __init__(self) -> None:
        self.cases: dict[str, list[tuple[str, str]]] = {}
        self.counts: dict[str, int] = {}
        self.errors: list[str] = []
        self._items: list[tuple[str, str]] = []

    def run(self, case: str, record: Callable[[Recording], object]) -> None:
        """Record one case; one that breaks off keeps what it has, and why."""
        self._items = self.cases[case] = []
        try:
            record(self)
        except Exception as error:
            logger.exception("case %s", case)
            self.errors.append(case)
            self.put("broke off", f"{type(error).__name__}: {error}")

    def count(self, what: str, number: int = 1) -> None:
        """Count what was asked for."""
        self.counts[what] = self.counts.get(what, 0) + number

    def put(self, label: str, value: Any) -> None:
        """Record a number, text, array, or whatever holds some of them."""
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self.put(f"{label}.{key}", inner)
        elif isinstance(value, (list, tuple)):
            self._items.append((f"{label}.length", str(len(value))))
            for place, inner in enumerate(value):
                self.put(f"{label}.{place}", inner)
        elif isinstance(value, float):
            self._items.append((label, f"{value.hex()} ({value!r})"))
        elif hasattr(value, "dtype"):
            array = value.detach().cpu().contiguous() if hasattr(value, "detach") else value
            array = array.numpy() if hasattr(array, "numpy") else array
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            head = array.reshape(-1)[:2].tolist()
            self._items.append((label, f"{array.dtype} {array.shape} {head}... sha256 {digest}"))
        else:
            self._items.append((label, repr(value)))


@dataclass(frozen=True)
class Case:
    """A study that is played: what it searches, and what happens to it.

    Attributes:
        space: Name of one of `spaces()`.
        settings: Of `create_study`.
        shape: How the metric looks, see `measured`.
        known: Trials observed beforehand, drawn from the space.
        rounds: Counts of the calls of `suggest`; 0 asks for one without a count.
        fails: Every so many trials one fails; 0 for never.
        waits: Every so many suggested trials one stays pending; 0 for never.
        held: Parameters that `suggest` holds.
    """

    space: str
    settings: Mapping[str, Any]
    shape: str = "plain"
    known: int = 0
    rounds: Sequence[int] = (0, 0, 0, 4, 0)
    fails: int = 0
    waits: int = 0
    held: Mapping[str, Any] | None = None


def spaces() -> dict[str, Any]:
    """Spaces of 1 to 16 parameters of every kind."""
    import optformer as of

    real, whole, choice, order, log = of.Float, of.Int, of.Categorical, of.Ordinal, {"log": True}
    wide: dict[str, Any] = {f"x{i}": real(-(i + 1.0), 2.0 * i + 1) for i in range(9)}
    wide |= {f"n{i}": whole(1, 10 ** (i + 1), log=i > 1) for i in range(4)}
    wide |= {f"c{i}": choice([f"v{j}" for j in range(i + 2)]) for i in range(3)}
    sgd, dart, net = {"optimizer": ["sgd"]}, {"booster": ["dart"]}, {"kind": ["net"]}
    # fmt: off
    parameters: dict[str, dict[str, Any]] = {
        "one float": {"x": real(-5.0, 10.0)},
        "one log": {"lr": real(1e-6, 1.0, log=True, description="learning rate")},
        "readme": {"lr": real(1e-6, 1e-1, **log), "optimizer": choice(["sgd", "adam"]),
                   "momentum": real(0.0, 0.99, when=sgd), "layers": whole(1, 8)},
        "nested": {"kind": choice(["tree", "line", "net"], description="what is fitted"),
                   "depth": whole(1, 9, when={"kind": ["tree"]}),
                   "rate": real(1e-3, 1.0, **log, when={"kind": ["line", "net"]}),
                   "activation": choice(["relu", "tanh", "swish"], when=net),
                   "slope": real(0.0, 0.5, when={"activation": ["relu"]})},
        "six points": {"a": choice(["p", "q"]), "b": whole(1, 3)},
        "listed": {"batch": order([16, 32, 64, 128]), "width": whole(0, 30, step=5),
                   "on": whole(0, 3)},
        "steps": {"dropout": real(0.0, 0.9, step=0.1), "units": whole(16, 512, step=16),
                  "size": order([0.1, 0.2, 0.5, 1.0, 2.0]), "alpha": real(0.0, 1.0)},
        "mixed choices": {"flag": choice([True, False]), "norm": choice([None, "batch", "layer"]),
                          "count": choice([1, 2.5, "many"]), "scale": real(1e3, 1e9, **log)},
        "log int": {"n": whole(1, 100_000, **log), "m": whole(-50, 50)},
        "many choices": {"model": choice([f"model {i}" for i in range(40)]), "p": real(0.0, 1.0)},
        "odd names": {"num.impute": choice(["mean", "median"]), "β/λ <1>": real(0.0, 1e-8)},
        "xgboost": {"booster": choice(["gbtree", "dart"], description="kind of trees"),
                    "eta": real(1e-4, 1.0, **log, description="learning rate"),
                    "max_depth": whole(1, 15), "nrounds": whole(3, 2000, **log),
                    "reg_lambda": real(1e-4, 1e3, **log), "reg_alpha": real(1e-4, 1e3, **log),
                    "subsample": real(0.1, 1.0), "colsample_bytree": real(0.01, 1.0),
                    "rate_drop": real(0.0, 1.0, when=dart), "skip_drop": real(0.0, 1.0, when=dart)},
        "sixteen": wide,
    }
    # fmt: on
    return {name: of.SearchSpace(inside) for name, inside in parameters.items()}


def cases() -> dict[str, Case]:
    """Every strategy on every space, and what needs a case of its own."""
    import optformer as of

    told = {"task": "classification", "dataset": "cifar10 <c1>", "model": "gradient boosting"}
    shapes = ("plain", "shifted", "small", "explodes", "plateau")
    found: dict[str, Case] = {}
    for i, space in enumerate(spaces()):
        for s, strategy in enumerate(STRATEGIES):
            n = i * len(STRATEGIES) + s
            settings: dict[str, Any] = {"strategy": strategy, "seed": n}
            settings["goal"] = ("maximize", "minimize")[n % 2]
            settings["metric"] = of.Weighted(score=1.0, cost=-0.25) if n % 7 == 3 else "score"
            settings["metadata"] = told if n % 3 else None
            rounds = (0, 0, 8, 0) if s == i % len(STRATEGIES) else (0, 0, 0, 4, 0)
            known = (0, 2, 7, 25, 60)[(i + s) % 5]
            fails, waits = (0, 4, 0, 3)[n % 4], (0, 0, 3)[n % 3]
            found[f"{space}, {strategy}"] = Case(
                space, settings, shapes[(i + 2 * s) % 5], known, rounds, fails, waits
            )
    basic: dict[str, Any] = {"metric": "accuracy", "goal": "maximize", "seed": 5, "metadata": told}
    for space, strategy in (("readme", "ei"), ("xgboost", "ts"), ("sixteen", "ei")):
        settings = {**basic, "strategy": strategy}
        found[f"long, {space}"] = Case(space, settings, "plain", 150, (0, 4, 0), 9, 2)
    held = {**basic, "fixed": {"optimizer": "sgd"}}
    found["fixed"] = Case("readme", held, "plain", 5, (0, 8, 0), held={"layers": 3})
    found["all fail"] = Case("xgboost", basic, "plain", 3, (0, 4, 0), 1)
    found["large seed"] = Case("readme", {**basic, "seed": 2**40 + 1}, rounds=(8, 8))
    return found


def measured(params: Mapping[str, Any], shape: str) -> float:
    """A metric of a point, always the same."""
    total = 0.0
    for name, value in params.items():
        number = value if isinstance(value, (int, float)) else sum(map(ord, str(value))) % 17
        total += math.cos(math.log1p(abs(number)) + 0.1 * len(name) + (0.3 if number < 0 else 0.0))
    sizes: dict[str, Callable[[float], float]] = {
        **{"shifted": lambda x: 1e9 + x, "small": lambda x: 1e-6 * x},
        **{"explodes": lambda x: 10 ** (4 * x), "plateau": lambda x: float(round(x))},
    }
    return sizes.get(shape, float)(total)


def play(case: Case, out: Recording, storage: str | None = None) -> Any:
    """Play a study, and record all that it says; returns it."""
    import numpy as np

    import optformer as of

    space, rng = spaces()[case.space], np.random.default_rng(len(case.space))
    study = of.create_study(space, name="played", storage=storage, **case.settings)
    weighted = isinstance(case.settings["metric"], of.Weighted)

    def observe(trial: Any, number: int) -> None:
        params = getattr(trial, "params", trial)
        value = measured(params, case.shape)
        if case.fails and number % case.fails == 0:
            study.observe(trial, failed="interrupted" if number % 5 == 4 else "out of memory")
        else:
            both = {"score": value, "cost": len(params)} if weighted else value
            study.observe(trial, both, stopped=number % 6 == 5)

    for number in range(case.known):
        observe(space.sample(rng), number)
    for turn, count in enumerate(case.rounds):
        try:
            asked = study.suggest(count or None, fixed=case.held)
        except of.SpaceExhaustedError as error:
            out.put(f"suggest {turn}", type(error).__name__)
            break
        for place, trial in enumerate(asked if count else [asked]):
            out.count("suggestions")
            why = trial.explanation
            label = f"suggest {turn}, member {place}"
            out.put(label, {"number": trial.number, "params": dict(trial.params)})
            out.put(f"{label}, why", {"source": why.source, "nearest": why.nearest})
            out.put(f"{label}, prediction", why.prediction and prediction(why.prediction))
            if not case.waits or trial.number % case.waits:
                observe(trial, trial.number)
        if any(trial.value is not None for trial in study.trials):
            points = [space.sample(rng) for _ in range(3)]
            out.count("predictions", len(points))
            out.put(f"predict {turn}", [prediction(found) for found in study.predict(points)])
    return study


def prediction(found: Any) -> dict[str, Any]:
    """All that a prediction says."""
    names = ("mean", "std", "probability_of_improvement", "probability_of_failure")
    return {name: getattr(found, name) for name in names} | {"quantiles": dict(found.quantiles)}


def stored(out: Recording, folder: Path) -> None:
    """A study in a file, opened again; its table and its space file."""
    import optformer as of

    case = Case("nested", {"metric": "loss", "goal": "minimize", "seed": 9}, known=12, fails=5)
    address = f"sqlite:///{folder / 'studies.db'}"
    play(case, out, address)
    study = of.load_study(storage=address)
    out.put("suggested after loading", dict(study.suggest().params))
    out.put("table", study.trials_dataframe().to_csv())
    for number, (name, space) in enumerate(spaces().items()):
        file = folder / f"{number}.space.yaml"
        of.save_space(space, file)
        out.put(f"space file of {name}", file.read_text(encoding="utf-8"))
        out.put(f"{name} read again", of.load_space(file) == space)


def wrapped(out: Recording) -> None:
    """Token ids, logits, loss, generated and likeliest trials of the transformers model."""
    import torch
    import transformers

    import optformer as of

    first_of(*PLACES["transformers"])  # registers the classes
    (directory,) = {file.parent for file in Path(str(of.__file__)).parent.rglob("run.json")}
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    for name in ("readme", "nested", "xgboost", "six points"):
        settings = {"metric": "loss", "goal": "minimize", "seed": 1, "metadata": {"dataset": "d"}}
        study = play(Case(name, settings, known=12, rounds=(0,), fails=5, waits=1), Recording())
        encoded = first_of(*PLACES["encode_study"])(
            study.config, study.trials, tokenizer.vocabulary, algorithm="gp ei"
        )
        out.put(f"{name}, text", tokenizer.decode(encoded.ids))
        out.put(f"{name}, study", {"ids": encoded.ids, "values": encoded.values})
        ids, values = torch.from_numpy(encoded.ids)[None], torch.from_numpy(encoded.values)[None]
        start = encoded.ids.tolist().index(tokenizer.bos_token_id)
        told = {"input_ids": ids[:, :start], "decoder_input_ids": ids[:, start:-1]}
        with torch.inference_mode():
            answer = model(**told, values=values[:, start:-1], labels=ids[:, start + 1 :])
            out.put(f"{name}, loss", float(answer.loss))
            for place, row in enumerate(answer.logits[0]):  # one after each token, metrics' too
                out.put(f"{name}, logits after token {place}", row)
            out.count("positions of logits", answer.logits.shape[1])
            torch.manual_seed(0)
            told["decoder_input_ids"] = ids[:, start:]
            for how in ({"do_sample": True, "top_p": 0.9}, {"num_beams": 3}):
                written = model.generate(
                    **told, **how, values=values[:, start:], num_return_sequences=3
                )
                out.put(f"{name}, generated with {how}", tokenizer.batch_decode(written))


def command(*arguments: str | Path) -> list[str]:
    """Run the command line in this process; returns the numbers that it wrote."""
    written, noise = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(noise):
        status = first_of(*PLACES["main"])([str(argument) for argument in arguments])
    if status:
        raise RuntimeError(f"optformer {arguments[0]}: {noise.getvalue()[-2000:]}")
    return re.findall(r"-?\d+\.\d+", written.getvalue())


def histories(out: Recording, folder: Path) -> None:
    """Histories of search methods on small real models; the training runs read them."""
    import pandas as pd

    pattern = ("--objectives", "decision-tree-*-[01],small-network-moons", "--generated", "2")
    command("generate", "--methods", METHODS, *pattern, "--trials", "7", "--out", folder / "tree")
    for file in sorted((folder / "tree").rglob("*.parquet")):
        table = pd.read_parquet(file)
        out.count("trials of search methods", len(table))
        label = file.relative_to(folder).as_posix()
        out.put(label, table.drop(columns="seconds").to_dict(orient="list"))


def published(run: Path) -> dict[str, Any]:
    """The weights of a run's checkpoint, by name."""
    from safetensors.torch import load_file

    return dict(sorted(formerly(load_file(run / "checkpoint" / "model.safetensors")).items()))


def formerly(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by the names and in the order of checkpoint formats 1 to 3."""
    try:
        keys = import_module("optformer.model.state_keys")
    except ImportError:
        return dict(weights)
    former, found = {new: old for old, new in keys.RENAMED.items()}, {}
    for name, weight in keys.in_order(weights.items()):
        module = name
        while module not in former:
            module = module.rpartition(".")[0]
        found[former[module] + name.removeprefix(module)] = weight
    return found


def trained(
    out: Recording, folder: Path, name: str, more: Mapping[str, Any], options: Sequence[str] = ()
) -> None:
    """A training run: its log, and all weights, averages and optimizer states after it."""
    import torch

    prior = {**PRIOR, **more.get("prior", {})}
    config, run = folder / f"{name}.yaml", folder / name
    config.write_text(json.dumps({**RUN, **more, "prior": prior}), encoding="utf-8")
    where = ("--out", run, "--tables", folder, "--threads", "1", "--cpu")
    command("train", "--config", config, *where, *options)
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        out.count("training steps", int(entry["group"] == "train"))
        for key, value in entry.items():
            if "second" not in key and "utilisation" not in key:
                out.put(f"step {entry['step']}, {entry['group']}/{key}", value)
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    for part in ("step", "trials", "optimizers"):
        out.put(part, state[part])
    for part in ("weights", "average"):
        out.put(part, formerly(state[part]))
    out.put("published", published(run))


def tuned(out: Recording, folder: Path) -> None:
    """Fine-tuning on one's own table, and what it and `evaluate` measure."""
    import optformer as of

    for seed in range(5):
        settings = {"metric": "loss", "goal": "minimize", "seed": seed}
        study = play(Case("nested", settings, known=9, rounds=(4,)), Recording())
        table = study.trials_dataframe().drop(columns="number")
        table = table.rename(columns=lambda name: name.removeprefix("params."))
        table.rename(columns={"value": "loss"}).to_csv(folder / f"own{seed}.csv", index=False)
        of.save_space(study.config.space, folder / f"own{seed}.space.yaml")
    how = ("--metric", "loss", "--goal", "minimize", "--steps", "2", "--threads", "1", "--cpu")
    model = ("--model", folder / "synthetic" / "checkpoint", "--out", folder / "tuned")
    out.put(
        "fine-tuned",
        command("finetune", "--studies", *sorted(folder.glob("own*.csv")), *how, *model),
    )
    out.put("weights", published(folder / "tuned"))
    out.put("evaluated", command("evaluate", "--studies", "4", "--dimensions", "2"))


def record(path: Path) -> int:
    """Record everything, with the optformer of this interpreter; returns the exit status."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import torch

    import optformer as of

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    started, out, home = time.monotonic(), Recording(), Path(str(of.__file__)).parent
    sys.stdout.write(f"recording {home}\n")
    for name, case in cases().items():
        out.run(f"study: {name}", partial(play, case))
    out.run("transformers", wrapped)
    advantages = {"policy": {"objective": "advantages"}, "batches_per_step": 2, "steps": 5}
    returns = {
        "mixture": {"start": {"synthetic": 0.2, "emulated": 0.4, "histories": 0.4}},
        "tables": [{"path": "tree", "held_out": 0.0}],
        "histories": [{"path": "tree", "held_out": 0.0}],
        "policy": {"objective": "returns"},
        "prior": {"studies_per_space": 1},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = ("--weights", str(folder / "synthetic" / "checkpoint"))
        out.run("storage", partial(stored, folder=folder))
        out.run("histories", partial(histories, folder=folder))
        for name, more, options in (
            ("synthetic", {"validate_every": 10}, ()),
            ("mixture", returns, ()),
            ("advantages", advantages | {"workers": 1}, weights),
        ):
            run = partial(trained, folder=folder, name=name, more=more, options=options)
            out.run(f"training: {name}", run)
        out.run("fine-tuning", partial(tuned, folder=folder))
    machine = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    seconds = round(time.monotonic() - started)
    items = sum(map(len, out.cases.values()))
    path.write_text(json.dumps({"machine": machine, "cases": out.cases}), encoding="utf-8")
    sys.stdout.write(f"{len(out.cases)} cases, {items} items, {out.counts}, {seconds} s\n")
    if out.errors:
        sys.stdout.write(f"broke off: {', '.join(out.errors)}\n")
    return int(bool(out.errors))


def compare(before: Path, after: Path, most: int) -> int:
    """Name the first differences of two recordings; returns the exit status."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    if old["machine"] != new["machine"]:
        sys.stdout.write(f"not comparable: {old['machine']} against {new['machine']}\n")
        return 1
    differing = 0
    for case in dict.fromkeys([*old["cases"], *new["cases"]]):
        pair = old["cases"].get(case, []), new["cases"].get(case, [])
        broken = [label for items in pair for label, _ in items if label == "broke off"]
        if pair[0] == pair[1] and not broken:
            continue
        differing += 1
        shared = range(min(map(len, pair)))
        place = next((i for i in shared if pair[0][i] != pair[1][i]), len(shared) - bool(broken))
        if differing <= most:
            first, second = (": ".join(p[place]) if place < len(p) else "nothing" for p in pair)
            sys.stdout.write(f"{case}, item {place}\n  before {first}\n  after  {second}\n")
    total = len(old["cases"])
    sys.stdout.write(f"{differing} of {total} cases differ\n" if differing else "all is equal\n")
    return int(differing > 0)


def recorded_by(python: str, path: Path) -> bool:
    """Record with another interpreter; whether there is something to compare."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    settings.pop("PYTHONPATH", None)
    script = str(Path(__file__).resolve())
    subprocess.run([python, "-P", script, "record", str(path)], cwd=path.parent, env=settings)
    return path.exists()


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record").add_argument("out", type=Path)
    comparing = commands.add_parser("compare")
    first = comparing.add_mutually_exclusive_group(required=True)
    first.add_argument("--before", help="interpreter of the installation before")
    first.add_argument("--before-record", type=Path, help="what it recorded earlier")
    last = comparing.add_mutually_exclusive_group(required=True)
    last.add_argument("--after", help="interpreter of the installation after")
    last.add_argument("--after-record", type=Path, help="what it recorded earlier")
    comparing.add_argument("--most", type=int, default=20, help="differing cases that are named")
    args = parser.parse_args()
    if args.command == "record":
        return record(args.out)
    with tempfile.TemporaryDirectory() as temporary:
        before = args.before_record or Path(temporary) / "before.json"
        after = args.after_record or Path(temporary) / "after.json"
        for python, path in ((args.before, before), (args.after, after)):
            if python and not recorded_by(python, path):
                sys.stdout.write(f"{python} recorded nothing\n")
                return 1
        return compare(before, after, args.most)


if __name__ == "__main__":
    sys.exit(main())
