"""The model card of a checkpoint, generated from the record of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optformer.data.studies.errors import CheckpointError
from optformer.model.checkpoint import CARD, RUN, load_checkpoint

_TEMPLATE = """\
# OptFormer {model}

A language model of hyperparameter tuning: it reads a study's metadata and trials, predicts the
metric of new points and proposes trials. {parameters:,} parameters; T5-style encoder over metadata,
causal decoder over trials. Suggestions need no GPU and no network.

## Training data

{data}

No function of the BBOB family, no reserved data set or model family, and no table of the benchmark
suites was used.

## Training

| | |
|---|---|
| Configuration | {config} |
| Seed | {seed} |
| Steps | {steps:,} |
| Trials and queries seen | {trials:,} |
| Time | {hours:.1f} hours on {device}{earlier} |
| Software | optformer {optformer_version}, torch {torch_version}, Python {python_version} |
| Date | {date} |
| Vocabulary | `{vocabulary}` |

## Evaluation

{evaluation}

## Intended use and limits

- Meant for tuning with up to some hundred trials, on spaces of up to 64 parameters and 256 choices
  a parameter. It was trained on 1 to {widest} parameters and up to {longest} trials; longer
  histories are thinned.
- Predictions are of a metric's next measurement, noise included; they are not calibrated on your
  task.
- {names}
"""


_NO_NAMES = """\
Names and descriptions carried no information in its training data: it reads them, but has not
  learned what a learning rate is."""
_TABLE_NAMES = """\
Names carried information in the tables and histories above: of models like theirs it knows what
  tends to work; other names it reads without knowing what they stand for."""


def write_model_card(directory: str | Path, evaluation: Mapping[str, Any] | None = None) -> Path:
    """Write a checkpoint's model card, and the evaluation, when given, into its record.

    Args:
        directory: A checkpoint.
        evaluation: Name of each evaluation to its rows (mappings with the same keys).

    Returns:
        Path of the card.

    Raises:
        CheckpointError: The directory is no checkpoint or cannot be written.
    """
    folder = Path(directory)
    run = dict(load_checkpoint(folder).run)
    if evaluation is not None:
        run["evaluation"] = dict(evaluation)
    config = run["config"]
    text = _TEMPLATE.format(
        model=config["model"],
        parameters=run["parameters"],
        data="\n".join(f"- {name}: {_listed(what)}" for name, what in run["data"].items()),
        config=f"`{json.dumps(config)}`",
        seed=config["seed"],
        steps=run["steps"],
        trials=run["trials"],
        hours=run["seconds"] / 3600,
        earlier=_earlier(run.get("earlier", [])),
        device=run["device"],
        optformer_version=run["optformer_version"],
        torch_version=run["torch_version"],
        python_version=run["python_version"],
        date=run["date"],
        vocabulary=run["vocabulary_hash"],
        evaluation="\n\n".join(
            f"### {name}\n\n{_table(rows)}" for name, rows in run.get("evaluation", {}).items()
        )
        or "Not evaluated yet.",
        widest=max(int(count) for count in config["prior"]["parameters"]),
        longest=config["prior"]["max_trials"],
        names=_TABLE_NAMES if config.get("tables") else _NO_NAMES,
    )
    try:
        (folder / RUN).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"cannot write the model card into {folder}: {error}") from error
    return folder / CARD


def _earlier(runs: Sequence[Mapping[str, Any]]) -> str:
    """What to know of the runs whose weights this one started from."""
    told = (
        f"a run of {run['steps']:,} steps, {run['trials']:,} trials, {hours:.1f} hours"
        for run in runs
        for hours in [run["seconds"] / 3600]
    )
    return f", after {' and '.join(told)}" if runs else ""


def _listed(what: Any) -> str:
    if isinstance(what, list):
        return "; ".join(str(item) for item in what) or "none"
    return str(what)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
