"""Writes the options of every command into the page about the command line.

A page asks for them with `<!-- options: tune -->`. They come from the parser itself, so that the
page cannot say anything else than `optformer tune --help`.
"""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Any

MARK = re.compile(r"<!-- options: (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every mark in a page by the table of that command's options."""
    return MARK.sub(lambda mark: options_table(mark.group(1)), markdown)


def options_table(command: str) -> str:
    """The options of a command as a Markdown table, in the order of its help.

    Args:
        command: Name of a command, such as "tune".

    Returns:
        A table with a row an option; groups of options have a row with their title before them.
    """
    rows = ["| Option | Meaning |", "|---|---|"]
    for group in command_parser(command)._action_groups:
        actions = [a for a in group._group_actions if not isinstance(a, argparse._HelpAction)]
        if not actions:
            continue
        if group.title not in ("options", "positional arguments"):
            rows.append(f"| **{group.title}** | {group.description or ''} |")
        rows += [f"| {_usage(action)} | {_meaning(action)} |" for action in actions]
    return "\n".join(rows if len(rows) > 2 else ["It takes no options."])


def command_parser(command: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    subparsers = argparse.ArgumentParser(prog="optformer").add_subparsers()
    importlib.import_module(f"optformer.serving.cli.{command}").add_parser(subparsers)
    parser: argparse.ArgumentParser = subparsers.choices[command]
    return parser


def _usage(action: argparse.Action) -> str:
    flag = ", ".join(action.option_strings)
    if action.nargs == 0:
        return f"`{flag}`"
    default = action.dest.upper().replace("_", "-")
    choices = ",".join(map(str, action.choices or ()))
    names = action.metavar or (f"{{{choices}}}" if choices else default)
    value = " ".join(names) if isinstance(names, tuple) else str(names)
    more = " ..." if action.nargs in ("+", "*") else ""
    return f"`{flag} {value}{more}`"


def _meaning(action: argparse.Action) -> str:
    text = " ".join((action.help or "").replace("%%", "%").split())
    text = text.replace("|", "\\|").replace("{", "&#123;").replace("<", "&lt;")
    if action.required:
        text = f"{text}. Required." if text else "Required."
    return text
