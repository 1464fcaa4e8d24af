"""`optformer space`: show what is understood of a search space."""

from __future__ import annotations

import argparse
from pathlib import Path

from optformer.serving.cli import console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "space",
        description="Shows what is understood of a search space: ours, or that of Optuna, "
        "ConfigSpace, W&B, NNI or Hydra's Optuna sweeper, told by its content.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a .yaml, .yml or .json file")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write it as a space of OptFormer, .yaml or .json"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a table of the parameters, and what was not read exactly; returns the exit status."""
    from optformer.data.studies.space_files import save_space, translate_space
    from optformer.serving.cli.space_table import write_space

    translated = translate_space(args.file)
    console.write(f"{args.file}: {translated.tool}, {len(translated.space)} parameters")
    console.write()
    write_space(translated.space)
    remarks = translated.remarks
    if remarks:
        console.write()
    for remark in remarks:
        console.write(f"note: {remark}")
    if args.out:
        save_space(translated.space, args.out)
        console.write(f"space: {args.out}")
    return 0
