"""Draw the map of the folders: docs/explanation/design.svg.

    python -P docs/assets/design.py

Columns are the folders, rooms are drawn bottom up in the order in which they may import each other.
A number is a stay of a suggestion, as in the table of the page.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).parents[1] / "explanation" / "design.svg"
WIDTH, COLUMN, GAP, TOP, ROOM = 992, 184, 12, 78, 52
FOLDERS = {
    "data": "what tuning is about",
    "tokenization": "the language of studies",
    "optformer": "the model and its planning",
    "training": "learning and measuring",
    "serving": "what users touch",
}
ROOMS: dict[str, list[tuple[str, str, str]]] = {
    "data": [
        ("runtime", "files, threads, logging", ""),
        ("studies", "spaces, trials, files, errors", ""),
        ("objectives", "things to tune", ""),
        ("methods", "search methods; external ones", ""),
        ("systems", "they train while they search", ""),
        ("corpora", "what the model learns from", ""),
    ],
    "tokenization": [("tokenization", "text, bins, scale, legality", "4")],
    "optformer": [
        ("model", "network, Gaussian processes", "5"),
        ("planning", "candidates, scores, choice", "2 3 6 7 8"),
        ("huggingface", "a model of transformers", ""),
    ],
    "training": [
        ("mixtures", "what batches are made of", ""),
        ("training", "the loop, fine-tuning", ""),
        ("evaluation", "everything that measures", ""),
    ],
    "serving": [
        ("study", "Study and its storage", "1"),
        ("script", "runs tuned scripts", ""),
        ("benchmarks", "suites, runs, reports", ""),
        ("integrations", "the model in other tools", ""),
        ("service", "studies over HTTP", ""),
        ("client", "the service from afar", ""),
        ("agents", "tools of coding agents", ""),
        ("cli", "the commands", ""),
    ],
}
HEART = {"studies", "tokenization", "model", "planning", "study"}
INK, SOFT, BLUE, PALE, GREY = "#1d2733", "#5b6774", "#1f6fb4", "#e3eef8", "#f3f4f6"


def text(x: float, y: float, content: str, size: int, color: str = INK, more: str = "") -> str:
    """A line of text."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" {more}>'
        f"{escape(content)}</text>"
    )


def draw() -> str:
    """The picture."""
    tallest = max(map(len, ROOMS.values()))
    bottom = TOP + tallest * (ROOM + GAP)
    height = bottom + 62
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="system-ui, sans-serif" role="img" '
            'aria-label="The five folders and their rooms">'
        ),
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    for column, (folder, about) in enumerate(FOLDERS.items()):
        x = GAP + column * (COLUMN + GAP)
        parts.append(text(x + 4, 34, f"{folder}/", 17, more='font-weight="700"'))
        parts.append(text(x + 4, 54, about, 12, SOFT))
        for floor, (room, line, stays) in enumerate(ROOMS[folder]):
            y = bottom - (floor + 1) * (ROOM + GAP)
            fill, edge = (PALE, BLUE) if room in HEART else (GREY, "#c9ced4")
            parts.append(
                f'<rect x="{x}" y="{y}" width="{COLUMN}" height="{ROOM}" rx="6" fill="{fill}" '
                f'stroke="{edge}"/>'
            )
            parts.append(text(x + 10, y + 22, room, 14, more='font-weight="600"'))
            parts.append(text(x + 10, y + 41, line, 11, SOFT))
            for number, stay in enumerate(reversed(stays.split())):
                place = x + COLUMN - 14 - 18 * number
                parts.append(f'<circle cx="{place}" cy="{y + 16}" r="8" fill="{BLUE}"/>')
                parts.append(text(place, y + 20, stay, 11, "#ffffff", 'text-anchor="middle"'))
    end, y = WIDTH - GAP, bottom + 14
    parts.append(
        f'<path d="M {end} {y} H {GAP + 8} m 7 -5 l -8 5 l 8 5" fill="none" stroke="{SOFT}"/>'
    )
    parts.append(text(GAP, y + 26, "imports", 12, SOFT))
    parts.append(
        text(
            end,
            y + 26,
            "blue: read these first; numbers: how a suggestion is made",
            12,
            SOFT,
            'text-anchor="end"',
        )
    )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
