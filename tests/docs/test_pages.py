"""The pages do what they say: their code runs, their commands parse, what they name is there.

A fenced block with a title is a file: it is written, not run. A block of `python` or `bash` without
a title is run, in the order of the page, unless a comment stands in the line before it:

    <!-- not run: it takes eight minutes -->

What a page needs and its reader does not is Python in a comment:

    <!-- setup
    def train(lr): ...
    -->
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import optformer
from optformer.data.studies import errors
from optformer.planning.acquisition import STRATEGIES
from optformer.serving.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LAYERS = ("data", "tokenization", "optformer", "training", "serving")
HOOK = runpy.run_path(str(DOCS / "hooks" / "command_line.py"))
LONG = (
    "benchmark.md",
    "generate.md",
    "tune-the-transformers-trainer.md",
    "use-with-ray-tune.md",
    "use-with-transformers.md",
)
# The first two take minutes, the others have tests of their own.
SLOW = ("learn-from-your-logs.md", "run-trials-in-parallel.md", "tune-a-script.md")
RUN = [
    ROOT / "README.md",
    DOCS / "index.md",
    *sorted((DOCS / "tutorials").glob("*.md")),
    *(page for page in sorted((DOCS / "how-to").glob("*.md")) if page.name not in LONG),
]

_BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^\n]*-->\n\s*)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)(?P<options>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
_COMMAND = re.compile(r"^\s*optformer (?:[^\n\\]|\\\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A piece of code in a page.

    Attributes:
        language: "python", "bash", or what else the fence says.
        code: Its text.
        title: Name of the file that it is; empty when it is to be run.
        run: Whether it is run.
    """

    language: str
    code: str
    title: str = ""
    run: bool = True


def read_blocks(page: Path) -> Iterator[Block]:
    """The code of a page, in its order."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found["setup"] is not None:
            yield Block("python", found["setup"])
            continue
        title = _TITLE.search(found["options"])
        yield Block(
            language=found["language"],
            code=textwrap.dedent(found["code"]),
            title=title[1] if title else "",
            run=found["skip"] is None,
        )


def run_page(page: Path, folder: Path) -> None:
    """Run the code of a page in a folder, which must be the working one."""
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(read_blocks(page), start=1):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
        elif block.run and block.language == "python":
            exec(compile(block.code, f"{page.name}, block {number}", "exec"), names)
        elif block.run and block.language == "bash" and "pip install" not in block.code:
            run_shell(block.code, folder)


def run_shell(code: str, folder: Path) -> None:
    """Run lines of a shell with this environment's `optformer` and `python`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


def read_commands(page: Path) -> list[list[str]]:
    """The words of every `optformer` command in the shell blocks of a page."""
    found = []
    for block in read_blocks(page):
        for line in _COMMAND.findall(block.code) if block.language == "bash" else []:
            joined = re.sub(r"\$\w+|\$\{[^}]*\}", "1", line.replace("\\\n", " "))
            words = shlex.split(joined, comments=True)[1:]
            ends = [i for i, word in enumerate(words) if word in ("--", ";", "|", "&&", ">")]
            found.append(words[: ends[0]] if ends else words)
    return found


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page.name in SLOW)) for page in RUN],
    ids=title,
)
def test_page__its_code__runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", [page for page in PAGES if read_commands(page)], ids=title)
def test_page__its_commands__are_understood(page: Path) -> None:
    for words in read_commands(page):
        if words[0].startswith("--"):
            continue
        assert words[0] in COMMANDS, words
        HOOK["command_parser"](words[0]).parse_args(words[1:])  # exits when it does not


def test_command_line__every_command__has_a_section_with_its_options() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `optformer (\w+)`$", page, re.MULTILINE) == list(COMMANDS)
    assert re.findall(r"<!-- options: (\w+) -->", page) == list(COMMANDS)


def test_options_table__a_command__has_a_row_for_each_option() -> None:
    table = HOOK["options_table"]("tune")
    assert "| `--space SPACE` | search space, YAML or JSON. Required. |" in table.splitlines()
    assert table.count("\n| `--") == len(HOOK["command_parser"]("tune")._actions) - 1


def test_errors__every_class__is_listed() -> None:
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    raised = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OptFormerError)
    ]
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(set(raised) - {"OptFormerError"})


def test_api__every_public_name__is_described() -> None:
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    described = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    named = re.findall(r"`of\.(\w+)`", page.split("## Errors")[1].split("##")[0])
    assert set(optformer.__all__) - {"__version__"} <= {*described, *named}


def test_strategies__every_one__is_described() -> None:
    page = (DOCS / "how-to" / "predict-and-plot.md").read_text(encoding="utf-8")
    section = page.split("## Choose how points are chosen")[1]
    assert re.findall(r'^\| `"(\w+)"` \|', section, re.MULTILINE) == list(STRATEGIES)


def test_configuration__every_packaged_file__is_listed() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\S+\.yaml)` \|", page, re.MULTILINE)
    packaged = [file.name for file in (ROOT / "training" / "configs").glob("*.yaml")]
    assert sorted(listed) == sorted(packaged)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=title)
def test_page__dotted_names_in_it__are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = re.findall(r"(?:`|^::: )(optformer(?:\.\w+)+)(?=`|$)", text, re.MULTILINE)
    missing = [name for name in names if not exists(name)]
    assert [name for name in missing if name != "optformer.benchmark.format"] == []  # no module


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        try:
            reduce(getattr, parts[end:], found)
        except AttributeError:
            return False
        return True
    return False


def test_contributing__its_tree__is_the_tree() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = [ROOT]
    above = [ROOT]
    for line in page.split("## The tree")[1].split("```")[1].strip().splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        above = [*above[: depth + 1], above[depth] / name.rstrip("/")]
        drawn.append(above[-1])
    assert [path for path in drawn if not path.is_dir()] == []
    packages = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("__init__.py")}
    assert packages - set(drawn) == set()


def test_contributing__every_path_it_names__is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:\w+/)+[\w.-]*)`", page)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
