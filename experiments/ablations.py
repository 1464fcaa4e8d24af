"""What each decision about the model and its training is worth, at equal steps.

    python experiments/ablations.py --out runs/ablations

With --config and --tables (training/configs/small-tables.yaml and the folder of its tables) and
another --out, variants that learn from real evaluations come in as well.

Trains a tiny model from scratch once for each variant, which differs from the baseline in one
thing, on the same batches where the variant is not about the batches. Every run is judged on the
same held-out studies. One JSON file a variant and seed: a run that was stopped goes on with the
variants that are missing. Writes report.md and report.png to the folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablated_models import (
    Alone,
    BinTable,
    CausalHistory,
    FullAttention,
    LearnedSlots,
    NoDistance,
    NoMeaning,
    SumPooling,
)
from matplotlib.figure import Figure
from short_runs import (
    DIMENSIONS,
    EVERYTHING_TOLD,
    HELD_OUT,
    PRIOR,
    SAMPLES,
    VOCABULARY,
    WHOLE_RANGES,
    Judge,
    Telling,
    configure,
    held_out_tables,
    make_model,
    telling,
    train,
)
from torch import Tensor
from tqdm import tqdm

from optformer.data.corpora.synthetic.histories import Functions, SyntheticHistory, random_search
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.history import MetricKind
from optformer.tokenization.objective_scale import ObjectiveScale
from optformer.training.config import TrainingConfig
from optformer.training.mixtures.batch import StudyBatch
from optformer.training.mixtures.prior import EmulatedSource, SyntheticPrior
from optformer.training.mixtures.queries import draw_scale
from optformer.training.mixtures.tables import load_tables
from optformer.training.schedule import rate_at

BASELINE = "baseline"


def uniform_probes(
    functions: Functions,
    history: SyntheticHistory,
    prefix: int,
    count: int,
    generator: torch.Generator,
) -> SyntheticHistory:
    """In place of `draw_probes`: none near the incumbent, none at the edges."""
    return random_search(functions, count, generator)


def whole_study_scale(
    gain: Tensor, kinds: Tensor, prefix: int, generator: torch.Generator
) -> ObjectiveScale:
    """In place of `draw_scale`: fitted on what comes after the prefix as well."""
    known = torch.where(gain.isnan(), int(MetricKind.FAILED), int(MetricKind.VALUE))
    return draw_scale(gain, known, gain.shape[1], generator)


@dataclass(frozen=True)
class Variant:
    """One thing that differs from the baseline.

    Attributes:
        model: Class of the model.
        prior: Settings of the prior.
        drawing: How batches are drawn, further arguments of `SyntheticPrior`.
        told: What emulated spaces tell.
        emulated: Share of the batches that emulate tables.
    """

    model: type[OptFormerModel] = OptFormerModel
    prior: Mapping[str, object] = field(default_factory=dict)
    drawing: Mapping[str, Any] = field(default_factory=dict)
    told: Telling = field(default_factory=dict)
    emulated: float = 0.0

    @property
    def own_batches(self) -> bool:
        """Whether it is about the batches."""
        return bool(self.prior or self.drawing or self.told or self.emulated)


VARIANTS = {
    BASELINE: Variant(),
    "no Gaussian process consulted": Variant(model=Alone),
    "trial pooled by a sum, no binding": Variant(model=SumPooling),
    "numbers from a table of bins": Variant(model=BinTable),
    "no attention bias by distance": Variant(model=NoDistance),
    "causal history": Variant(model=CausalHistory),
    "slot vectors without metadata": Variant(model=LearnedSlots),
    "scale of the whole study": Variant(drawing={"scale": whole_study_scale}),
    "uniform probes only": Variant(drawing={"probes": uniform_probes}),
    "no probes, no mined questions": Variant(prior={"probes": 1, "mining": 0.0}),
    "uniform contexts only": Variant(prior={"methods": {"random": 1.0}}),
    "no mined questions": Variant(prior={"mining": 0.0}),
    "parameter tokens are keys too": Variant(model=FullAttention),
}

REAL = {
    "half of the batches emulated": Variant(emulated=0.5),
    "all batches emulated": Variant(emulated=1.0),
    "half emulated, no meaning in slot vectors": Variant(model=NoMeaning, emulated=0.5),
    "half emulated, whole ranges only": Variant(emulated=0.5, told=WHOLE_RANGES),
    "half emulated, no metadata dropout": Variant(
        emulated=0.5, told=EVERYTHING_TOLD, prior={"named_algorithm": 1.0}
    ),
}


class Batches:
    """The batches of a variant; those of the baseline are drawn once and kept."""

    def __init__(self, steps: int, tables: Sequence[EmulatedSource]):
        self.steps, self.tables = steps, tables
        self._shared: dict[int, list[StudyBatch]] = {}

    def of(self, variant: Variant, config: TrainingConfig) -> list[StudyBatch]:
        """All batches of a run."""
        seed = config.seed
        if not variant.own_batches and seed in self._shared:
            return self._shared[seed]
        tables = telling(self.tables, variant.told)
        prior = SyntheticPrior(config.prior, VOCABULARY, seed, tables=tables, **variant.drawing)
        drawn = [
            prior.batch(number, variant.emulated)
            for number in tqdm(range(self.steps), desc="batches", leave=False)
        ]
        if not variant.own_batches:
            self._shared[seed] = drawn
        return drawn


def run(
    variant: Variant, seed: int, batches: Batches, judge: Judge, size: ModelConfig
) -> dict[str, object]:
    """Train and judge one variant."""
    config = configure(batches.steps, replace(PRIOR, **variant.prior), seed)
    model = make_model(size, seed, variant.model)
    rates = [rate_at(step, 0.0, config) for step in range(config.steps)]
    drawn = tqdm(batches.of(variant, config), desc="training", leave=False)
    seconds = [step.seconds for step in train(model, drawn, config, rates)]
    return {
        "steps": config.steps,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seconds_per_step": float(np.median(seconds)),
        "scores": judge.scores(model),
    }


def report(found: Mapping[str, Sequence[Mapping[str, object]]], out: Path) -> None:
    """A table of means over the seeds, and the differences seed by seed as a plot."""
    scores = {
        name: [run["scores"] | {"seconds": run["seconds_per_step"]} for run in runs]
        for name, runs in found.items()
    }
    columns = {
        "metric": "metric",
        "value": "policy",
        **{f"share_{count}": f"share {count}-d" for count in DIMENSIONS},
        "emulated_told_metric": "real, told",
        "emulated_untold_metric": "real, untold",
        "seconds": "s/step",
    }
    columns = {key: head for key, head in columns.items() if key in scores[BASELINE][0]}
    base = scores[BASELINE]
    gaps = {
        name: {
            # The same seed, hence mostly the same batches.
            key: np.mean([run[key] - b[key] for run, b in zip(runs, base, strict=False)])
            for key in columns
        }
        for name, runs in scores.items()
        if name != BASELINE
    }
    lines = ["| variant | seeds | above the baseline | " + " | ".join(columns.values()) + " |"]
    lines.append("|---" * (3 + len(columns)) + "|")
    for name, runs in scores.items():
        cells = [f"{np.mean([run[key] for run in runs]):.3f}" for key in columns]
        gap = f"{gaps[name]['metric']:+.3f}" if name in gaps else ""
        lines.append(f"| {name} | {len(runs)} | {gap} | " + " | ".join(cells) + " |")
    if len(base) > 1:
        spread = [np.std([run[key] for run in base], ddof=1) for key in columns]
        cells = " | ".join(f"{s:.3f}" for s in spread)
        lines.append(f"| deviation of the baseline's seeds | {len(base)} | | {cells} |")
    (out / "report.md").write_text("\n".join(lines) + "\n")

    figure = Figure(figsize=(7, 0.8 + 0.28 * len(gaps)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, key in ((left, "metric"), (right, "value")):
        axes.barh(list(gaps)[::-1], [gap[key] for gap in gaps.values()][::-1])
        if len(base) > 1:
            deviation = np.std([run[key] for run in base], ddof=1)
            axes.axvspan(-2 * deviation, 2 * deviation, color="0.85", zorder=0)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel(f"{columns[key]}: nats above the baseline")
    figure.savefig(out / "report.png", dpi=80)


def main() -> None:
    """Run what is missing and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="steps of every run")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant")
    parser.add_argument("--baseline-seeds", type=int, default=2, help="runs of the baseline")
    parser.add_argument("--batches", type=int, default=HELD_OUT, help="held-out batches")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="Gaussian processes")
    parser.add_argument("--config", help="configuration with tables: adds the variants on them")
    parser.add_argument("--tables", type=Path, default=Path(), help="folder of the tables")
    parser.add_argument("--only", nargs="*", help="variants to run; all when absent")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    tables, judging = [], []
    if args.config:
        configs = TrainingConfig.load(args.config).tables
        tables = load_tables(configs, args.tables, args.out, torch.device("cpu"))
        judging = held_out_tables(configs, args.tables, args.out)
    variants = {**VARIANTS, **(REAL if tables else {})}
    unknown = sorted(set(args.only or ()) - set(variants))
    if unknown:
        parser.error(f"unknown variant {unknown[0]!r}; known are {sorted(variants)}")
    size = ModelConfig.named("tiny", VOCABULARY.size)
    batches, judge = Batches(args.steps, tables), Judge(args.batches, args.samples, judging)
    settings = {"steps": args.steps, "batches": args.batches, "samples": args.samples}
    settings = {**settings, "prior": asdict(PRIOR), "tables": bool(tables)}

    found: dict[str, list[dict[str, object]]] = {}
    jobs = [(BASELINE, seed) for seed in range(max(args.seeds, args.baseline_seeds))]
    jobs += [(name, s) for s in range(args.seeds) for name in variants if name != BASELINE]
    for name, seed in tqdm(jobs, unit="run"):
        path = args.out / f"{name.replace(',', '').replace(' ', '-')}-{seed}.json"
        if args.only and name not in args.only and not path.exists():
            continue
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["settings"] != json.loads(json.dumps(settings)):
                parser.error(f"{path} is of other settings; choose another --out")
        else:
            kept = {"settings": settings, **run(variants[name], seed, batches, judge, size)}
            path.write_text(json.dumps(kept, indent=1))
        found.setdefault(name, []).append(kept)
        if BASELINE in found:
            report(found, args.out)


if __name__ == "__main__":
    main()
