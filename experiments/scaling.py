"""Loss and regret against compute: three sizes from scratch, and the shipped checkpoint.

    python experiments/scaling.py --out runs/scaling

Each size learns from the same fresh batches at a constant rate; the running average of its weights
is judged on the way. A power law with an offset is fitted to the lowest loss reached with each
amount of compute. One JSON file a size: a run that was stopped goes on with the sizes that are
missing. Writes report.md and scaling.png to the folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import curve_fit
from short_runs import (
    HELD_OUT,
    JUDGING,
    PRIOR,
    VOCABULARY,
    configure,
    draw,
    likelihoods,
    make_model,
    train,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from optformer.model.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.planning.planner import Planner
from optformer.planning.search_method import ModelSearch
from optformer.training.bootstrap import Array, mean
from optformer.training.config import PriorConfig
from optformer.training.evaluation.synthetic_tasks import SyntheticTask, draw_task, regrets, search
from optformer.training.evaluation.validation import SEED
from optformer.training.mixtures.batch import StudyBatch
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.speed import training_flops

SIZES = {
    "tiny": ModelConfig.named("tiny", VOCABULARY.size),
    "middle": ModelConfig(
        vocabulary_size=VOCABULARY.size,
        width=64,
        layers=3,
        heads=4,
        feedforward=128,
        pool_width=128,
        encoder_width=32,
        encoder_layers=1,
        encoder_heads=2,
        encoder_feedforward=64,
    ),
    "large": ModelConfig(
        vocabulary_size=VOCABULARY.size,
        width=112,
        layers=4,
        heads=4,
        feedforward=224,
        pool_width=256,
        encoder_width=64,
        encoder_heads=4,
        encoder_feedforward=128,
    ),
}
TRIALS = 20  # of a search
DECAY = 0.97  # of the averaged weights
POINTS = 8  # of a curve
UNIT = 1e12  # operations, so that the fitted numbers are of one size
LEAST = 5  # points that a law of three numbers is fitted to
DRAWS = 4000  # from the fit's uncertainty


def law(compute: Array, floor: float, scale: float, power: float) -> Array:
    """Loss after so many operations, in units of 10^12."""
    return floor + scale * compute**-power


def fit_law(compute: Array, loss: Array) -> tuple[Array, Array]:
    """The law's parameters and their covariance."""
    start, bounds = (loss.min() - 0.2, 0.5, 0.2), ([0, 0, 0.01], [loss.min(), 10, 2])
    return curve_fit(law, compute, loss, p0=start, bounds=bounds, maxfev=20_000)


def predict(fit: tuple[Array, Array], compute: Array) -> Array:
    """Median and 95 % interval of the law at each amount of compute, (3, N)."""
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal(*fit, size=DRAWS)
    drawn = drawn[(drawn > 0).all(-1)]
    return np.quantile([law(compute, *one) for one in drawn], [0.5, 0.025, 0.975], axis=0)


def regret(model: OptFormerModel, tasks: Sequence[SyntheticTask]) -> list[float]:
    """The planner's regret after 20 trials on each task."""
    planner = Planner(Checkpoint(model.eval(), VOCABULARY, {}))
    found = []
    for number, task in enumerate(tasks):
        history = search(task, ModelSearch(task.config, planner), TRIALS, [SEED, number])
        found.append(float(regrets(task, history)[-1]))
    return found


def learn(
    size: ModelConfig,
    batches: Sequence[StudyBatch],
    judging: Sequence[StudyBatch],
    tasks: Sequence[SyntheticTask],
) -> dict[str, object]:
    """Train one size and judge it on the way."""
    config = configure(len(batches), PRIOR, 0, size.width)
    model = make_model(size, config.seed)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    due = {round(len(batches) * 2.0 ** (-i / 2)) for i in range(POINTS)}
    rates = [min(1.0, (step + 1) / config.warmup) for step in range(config.steps)]
    curve, flops, seconds = [], 0, 0.0
    bar = tqdm(batches, desc="training", leave=False)
    for number, step in enumerate(train(model, bar, config, rates), start=1):
        average.update_parameters(model)
        flops += step.flops
        seconds += step.seconds
        if number in due:
            metric, value = likelihoods(average.module.eval(), judging)
            curve.append({"step": number, "flops": flops, "seconds": seconds, "metric": metric})
            curve[-1]["value"] = value
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "curve": curve,
        "regret": regret(average.module, tasks),
    }


def shipped(judging: Sequence[StudyBatch], tasks: Sequence[SyntheticTask]) -> dict[str, object]:
    """The shipped checkpoint, whose compute is counted on batches of its own prior."""
    checkpoint = load_checkpoint(SHIPPED)
    prior = SyntheticPrior(
        PriorConfig(**{**checkpoint.run["config"]["prior"], "emulated": 0.0}), VOCABULARY, SEED
    )
    drawn = [training_flops(checkpoint.model.config, prior.batch(number)) for number in range(8)]
    metric, value = likelihoods(checkpoint.model, judging)
    runs = (checkpoint.run, *checkpoint.run.get("earlier", ()))
    steps = sum(run["steps"] for run in runs)
    point = {"flops": int(np.mean(drawn) * steps), "metric": metric}
    return {
        "parameters": checkpoint.run["parameters"],
        "curve": [{**point, "value": value, "seconds": checkpoint.run["seconds"]}],
        "regret": regret(checkpoint.model, tasks),
    }


def frontier(found: Mapping[str, Mapping[str, object]]) -> tuple[Array, Array]:
    """Compute and loss of every point that no cheaper one beats.

    The first half of a curve is left out: the average of the weights lags behind them there.
    """
    curves = [run["curve"][len(run["curve"]) // 2 :] for run in found.values()]
    points = sorted((point["flops"], point["metric"]) for curve in curves for point in curve)
    best, kept = np.inf, []
    for flops, loss in points:
        if loss < best:
            best = loss
            kept.append((flops / UNIT, loss))
    compute, loss = np.array(kept).T
    return compute, loss


def report(found: Mapping[str, Mapping[str, object]], out: Path) -> None:
    """Tables and a plot of what was found."""
    lines = ["| model | parameters | operations | metric | policy | regret after 20 |"]
    lines.append("|---" * 6 + "|")
    for name, run in found.items():
        end = run["curve"][-1]
        cells = [name, f"{run['parameters']:,}", f"{end['flops']:.2e}", f"{end['metric']:.3f}"]
        cells += [f"{end['value']:.3f}", f"{mean(np.array(run['regret'])):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")

    own = {name: run for name, run in found.items() if name in SIZES}
    known = found["shipped"]["curve"][-1]["flops"] / UNIT
    ahead = known * np.array([1.0, 10.0, 100.0])
    lines += ["", "| fitted to | floor | scale | power | shipped compute | 10 times | 100 times |"]
    lines.append("|---" * 7 + "|")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (label, runs) in enumerate((("the short runs", own), ("all", found))):
        compute, loss = frontier(runs)
        if len(compute) < LEAST:
            lines.append(f"| {label} | too few points |" + " |" * 5)
            continue
        fit = fit_law(compute, loss)
        spread = np.sqrt(np.diag(fit[1]))
        numbers = [f"{v:.3f} ± {s:.3f}" for v, s in zip(fit[0], spread, strict=True)]
        numbers += ["{:.2f} ({:.2f} to {:.2f})".format(*column) for column in predict(fit, ahead).T]
        lines.append(f"| {label} | " + " | ".join(numbers) + " |")
        if number:
            span = np.geomspace(compute.min(), ahead[-1], 100)
            line, low, high = predict(fit, span)
            left.plot(span * UNIT, line, color="0.4", linestyle="--", label="fit to all")
            left.fill_between(span * UNIT, low, high, color="0.85", zorder=0)
    for name, run in found.items():
        flops = [point["flops"] for point in run["curve"]]
        marker = "*" if name == "shipped" else "."
        label = f"{name}, {run['parameters'] / 1e6:.2f}M"
        left.plot(flops, [p["metric"] for p in run["curve"]], marker=marker, label=label)
        estimate = mean(np.array(run["regret"]))
        bars = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        right.errorbar(flops[-1:], [estimate.value], bars, marker=marker, label=label)
    left.set(xscale="log", xlabel="operations", ylabel="metric: nats, held-out batches")
    right.set(xscale="log", xlabel="operations", ylabel=f"regret after {TRIALS} trials")
    left.legend(fontsize="small")
    figure.savefig(out / "scaling.png", dpi=80)
    (out / "report.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run what is missing and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="steps of every size")
    parser.add_argument("--batches", type=int, default=HELD_OUT, help="held-out batches")
    parser.add_argument("--tasks", type=int, default=8, help="synthetic functions searched")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    judging = draw(JUDGING, SEED, args.batches)
    tasks = [draw_task(SEED, number, TRIALS) for number in range(args.tasks)]
    settings = {"steps": args.steps, "batches": args.batches, "tasks": args.tasks}
    settings = json.loads(json.dumps({**settings, "prior": asdict(PRIOR)}))
    batches: list[StudyBatch] = []
    found = {}
    for name in ("shipped", *SIZES):
        path = args.out / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["settings"] != settings:
                parser.error(f"{path} is of other settings; choose another --out")
        elif name == "shipped":
            kept = shipped(judging, tasks)
        else:
            batches = batches or draw(PRIOR, 0, args.steps)
            kept = learn(SIZES[name], batches, judging, tasks)
        found[name] = {"settings": settings, **kept}
        path.write_text(json.dumps(found[name], indent=1))
    report(found, args.out)


if __name__ == "__main__":
    main()
