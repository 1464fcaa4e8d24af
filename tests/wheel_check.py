"""Run against the unpacked wheel: everything in the checkout's package folders must be in it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import optformer

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Exit with a message when the wheel lacks a file."""
    installed = Path(optformer.__file__).parent
    if installed == ROOT / "optformer":
        sys.exit("the checkout was imported instead of the wheel; put the wheel on PYTHONPATH")
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    missing = []
    for package, folder in setup["tool"]["setuptools"]["package-dir"].items():
        home = installed.joinpath(*package.split(".")[1:])
        for source in sorted((ROOT / folder).rglob("*")):
            built = home / source.relative_to(ROOT / folder)
            if source.is_file() and source.suffix != ".pyc" and not built.is_file():
                missing.append(str(source.relative_to(ROOT)))
    if missing:
        sys.exit(f"the wheel lacks {missing}; list them in pyproject.toml or move them away")


if __name__ == "__main__":
    main()
