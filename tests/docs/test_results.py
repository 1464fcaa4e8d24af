"""The result pages say what their files of numbers say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
RESULTS = runpy.run_path(str(ROOT / "docs" / "assets" / "results.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page__its_tables__are_those_of_the_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert RESULTS["render"](text) == text  # `make pictures` writes them again


def test_figures__of_every_page__have_numbers() -> None:
    regret = pd.read_csv(RESULTS["DATA"] / "regret.csv")
    known = set(zip(regret.protocol, regret.suite, strict=True))
    assert set(RESULTS["figures"]().values()) <= known


def test_table__best_of_a_row__is_bold_and_ties_are() -> None:
    wanted = "batches.csv; batch=1|4; rows=batch; columns=method; value=regret; best=min; digits=3"
    lines = RESULTS["table"](wanted).splitlines()
    assert lines[0] == "| batch | optformer | optformer-placeholder | optformer-ignore | qlogei |"
    assert lines[2].count("**") == 6
    assert lines[3].split(" | ")[1].startswith("**.0")
