"""The map of the folders shows the folders there are."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
DESIGN = runpy.run_path(str(ROOT / "docs" / "assets" / "design.py"))


def test_design__its_rooms__are_the_packages_of_the_folders() -> None:
    for folder, rooms in DESIGN["ROOMS"].items():
        drawn = {name for name, _, _ in rooms} - {folder}
        packages = {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}
        assert drawn == packages


def test_design__picture__is_what_the_script_draws() -> None:
    assert DESIGN["OUT"].read_text(encoding="utf-8") == DESIGN["draw"]()
