"""Links of the pages that the site does not hold: of the log, the examples and the experiments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOG = ROOT / "dev" / "log"
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *(ROOT / name / "README.md" for name in ("examples", "experiments")),
        *LOG.glob("*.md"),
    ]
)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page__its_links__lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_log__every_entry__is_listed_and_says_what_was_decided() -> None:
    index = (LOG / "README.md").read_text(encoding="utf-8")
    for entry in LOG.glob("2*.md"):
        assert f"]({entry.name})" in index
        text = entry.read_text(encoding="utf-8")
        assert "**Question.**" in text, entry.name
        assert re.search(r"## Decisions?\n|\*\*Decision\.?\*\*|\*\*Left out", text), entry.name


def test_experiments__every_script__is_listed() -> None:
    listed = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    scripts = [path.name for path in (ROOT / "experiments").glob("*.py")]
    assert [name for name in scripts if f"`{name}`" not in listed] == []


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "explanation").rglob("*.md")), ids=lambda page: page.name
)
def test_explanation__files_of_the_code_in_it__are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:data|tokenization|optformer|training|serving)/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
