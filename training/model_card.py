"""The model card of a checkpoint, generated from the record of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optformer.data.studies.errors import CheckpointError
from optformer.data.studies.yaml_json import to_yaml
from optformer.model.checkpoint import CARD, RUN, load_checkpoint
from optformer.training.run_record import past_runs

_HEADER = {
    "license": "apache-2.0",
    "library_name": "optformer",
    "language": "en",
    "tags": ["hyperparameter-optimization", "black-box-optimization", "t5"],
}

_TEMPLATE = """\
---
{header}---

# OptFormer {model}

A language model of hyperparameter tuning: it reads a study's metadata and trials, predicts the
metric of new points and proposes trials. {parameters:,} parameters; T5-style encoder over metadata,
causal decoder over trials. Suggestions need no GPU and no network.

## Training data

{data}

No function of the BBOB family, no reserved data set or model family, and no table of the benchmark
suites was used.

## Training

{runs}

Software of the last run: optformer {optformer_version}, torch {torch_version}, Python
{python_version}. Vocabulary: `{vocabulary}`. Its configuration:

```yaml
{config}```

## Evaluation

{evaluation}

## Intended use and limits

- Meant for tuning with up to some hundred trials, on spaces of up to 64 parameters and 256 choices
  a parameter. It was trained on 1 to {widest} parameters and up to {longest} trials; of longer
  histories it reads a part.
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
        header=to_yaml(_HEADER),
        model=config["model"],
        parameters=run["parameters"],
        data="\n".join(f"- {name}:{_listed(what)}" for name, what in run["data"].items()),
        runs=_table([_described(i, one) for i, one in enumerate(past_runs(run), 1)]),
        config=to_yaml(config),
        optformer_version=run["optformer_version"],
        torch_version=run["torch_version"],
        python_version=run["python_version"],
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


def _described(number: int, run: Mapping[str, Any]) -> dict[str, str]:
    """A run as a row of a table; what its release did not record stays empty."""
    data = run.get("data")
    return {
        "Run": str(number),
        "Date": str(run.get("date", "")),
        "Device": str(run.get("device", "")),
        "From": str(run.get("from", "")),
        "Data": data if isinstance(data, str) else _sources(run.get("config", {})),
        "Steps": f"{run['steps']:,}",
        "Trials and queries": f"{run['trials']:,}",
        "Hours": f"{run['seconds'] / 3600:.1f}",
    }


def _sources(config: Mapping[str, Any]) -> str:
    """Shares of a configuration's sources at the first step, in per cent of the batches."""
    emulated = config.get("prior", {}).get("emulated", 0.0)
    mixture = config.get("mixture") or {"start": {"synthetic": 1 - emulated, "emulated": emulated}}
    total = sum(mixture["start"].values())
    shares = {name: weight / total for name, weight in mixture["start"].items() if weight}
    return ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items())


def _listed(what: Any) -> str:
    """One line, or an item a line where the items have commas of their own."""
    items = [str(item) for item in what] if isinstance(what, list) else [str(what)]
    if len(items) > 1 and any(", " in item for item in items):
        return "".join(f"\n  - {item}" for item in items)
    return f" {', '.join(items) or 'none'}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
