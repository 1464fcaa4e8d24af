"""The benchmark's report: who is better, and by how much.

`write_report(out)` turns a folder of results into Markdown, pictures and one HTML page.
"""

from __future__ import annotations

from pathlib import Path

from optformer.data.runtime.files import write_text
from optformer.serving.benchmarks.report import batches, page, plots, text
from optformer.serving.benchmarks.report.scores import score_runs

__all__ = ["score_runs", "write_report"]


def write_report(out: Path) -> str:
    """Write `report.md`, `report.html` and pictures of each suite into a results folder.

    Args:
        out: A folder that `run_benchmark` wrote.

    Returns:
        The Markdown text.

    Raises:
        StudyError: The folder holds no run, or a suite no task and seed that all its methods have.
        StorageError: A file is unreadable; the message names it.
        MissingExtraError: A package of the `benchmark` extra is not installed.
    """
    scores = score_runs(out)
    colours = plots.colours(method.method for score in scores for method in score.methods)
    sections = [text.HEAD]
    for score in scores:
        pictures = [f"curves-{score.slug}.png"]
        plots.draw_curves(score, out / pictures[0], colours)
        if score.tests:
            pictures.append(f"ranks-{score.slug}.png")
            plots.draw_critical_difference(score, out / pictures[1], colours)
        sections += text.section(score, pictures)
    for batch_score in batches.batch_scores(scores):
        picture = f"batches-{batch_score.slug}.png"
        batches.draw(batch_score, out / picture, colours)
        sections += batches.section(batch_score, picture)
    markdown = "\n\n".join(sections) + "\n"
    write_text(out / "report.md", markdown)
    write_text(out / "report.html", page.page(markdown, "Benchmark report", out))
    return markdown
