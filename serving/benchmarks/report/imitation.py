"""Write the scores of imitation: a table, curves and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from optformer.data.runtime.files import write_text
from optformer.serving.benchmarks.report.plots import save
from optformer.serving.benchmarks.report.text import table_of
from optformer.training.evaluation.imitation import ImitationScore

_LOOKS = {"random": ("#8a929a", ":"), "teacher": ("C1", "-"), "policy": ("C0", "-")}


def write_imitation(scores: Sequence[ImitationScore], out: Path) -> str:
    """Write `imitation.md`, `imitation.json` and `imitation.png`.

    Args:
        scores: One for each teacher, at least one.
        out: A folder; it is made when it is missing.

    Returns:
        The Markdown text.
    """
    out.mkdir(parents=True, exist_ok=True)
    _draw(scores, out / "imitation.png")
    described = json.dumps([asdict(score) for score in scores], indent=1)
    write_text(out / "imitation.json", described + "\n")
    first = scores[0]
    head = (
        f"# Imitation\n\nRandom search, each teacher and the policy told its name on "
        f"{first.tasks} synthetic functions, {first.seeds} searches each, {first.trials} trials a "
        "search. Regret is (top - best found) / (top - median) with the top and the median of "
        "1,000 random points. Share of the gap: (policy - teacher) / (random - teacher); 0 is as "
        "good as the teacher, 1 as random search, and it is empty where the teacher cannot be told "
        "from random search. Step: distance of a trial from the best one before it, root mean "
        "square over the parameters on the unit interval. In brackets: 95 % bootstrap interval "
        "over functions."
    )
    text = (
        "\n\n".join([head, table_of(imitation_rows(scores)), "![Regret and steps](imitation.png)"])
        + "\n"
    )
    write_text(out / "imitation.md", text)
    return text


def imitation_rows(scores: Sequence[ImitationScore]) -> list[dict[str, str]]:
    """The scores as rows of a table, heading to cell."""
    return [
        {
            "Teacher": f"`{score.teacher}`",
            "In its training": "yes" if score.learned else "no",
            "Regret: random": f"{score.regret_random:.3f}",
            "Regret: teacher": f"{score.regret_teacher:.3f}",
            "Regret: policy": f"{score.regret_policy:.3f}",
            "Share of the gap": "" if score.gap_share is None else f"{score.gap_share:.2f}",
            "Step: random": f"{score.step_random:.3f}",
            "Step: teacher": f"{score.step_teacher:.3f}",
            "Step: policy less teacher": f"{score.step_difference:+.3f}",
        }
        for score in scores
    ]


def _draw(scores: Sequence[ImitationScore], path: Path) -> None:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(1.0 + 3.4 * len(scores), 6.0), layout="constrained")
    panels = figure.subplots(2, len(scores), squeeze=False, sharex=True, sharey="row")
    for score, column in zip(scores, panels.T, strict=True):
        for axes, curves in zip(column, (score.regret_curves, score.step_curves), strict=True):
            for name, values in curves.items():
                colour, style = _LOOKS[name]
                trials = range(score.trials - len(values) + 1, score.trials + 1)
                axes.plot(trials, values, color=colour, linestyle=style, label=name)
            axes.grid(alpha=0.25)
        column[0].set_title(score.teacher, fontsize="medium")
        column[1].set_xlabel("trials")
    panels[0, 0].set_ylabel("mean regret")
    panels[1, 0].set_ylabel("mean step from the incumbent")
    panels[0, 0].legend(frameon=False, fontsize="small")
    save(figure, path)
