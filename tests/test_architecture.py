"""The house rules that no single module can see: who imports whom, and what is packaged.

Arrows between the folders point one way, and so do those between the rooms inside a folder; no two
modules import each other, not even in functions or for the type checker.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = [
    "data",
    "tokenization",
    "optformer",
    "training",
    "serving",
]  # each may import those before
FLOORS = {
    "data": [["runtime"], ["studies"], ["objectives"], ["methods"], ["systems", "corpora"]],
    "optformer": [["model"], ["planning"], ["huggingface"]],
    "training": [["loop"], ["evaluation"]],
    "serving": [
        ["study"],
        ["script", "benchmarks", "integrations", "service"],
        ["client"],
        ["agents"],
        ["cli"],
    ],
}  # inside a layer, each room may import those of the floors below it, not its neighbours
LOOP = ["", "mixtures"]  # the training loop: modules that lie in the layer itself, and mixtures
FACE = ROOT / "optformer" / "__init__.py"  # names what it offers in a table of strings
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def layer_of(module: str) -> str | None:
    """The layer a dotted name belongs to, None for other people's modules."""
    parts = module.split(".")
    if parts[0] != "optformer":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "optformer"


def imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import in a file, those in functions too.

    Args:
        path: A Python file.
        package: Dotted name of the package that holds it, for relative imports.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if path == FACE and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped.update(ast.walk(node))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = ".".join(above[: len(above) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def package_of(path: Path) -> str:
    """Dotted name of the package a file of the checkout installs into."""
    folder, *inner = path.relative_to(ROOT).parent.parts
    return ".".join(["optformer", *([] if folder == "optformer" else [folder]), *inner])


def python_files(layer: str) -> list[Path]:
    """All modules of a layer."""
    return sorted((ROOT / layer).rglob("*.py"))


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    named = {}
    for path in (path for layer in LAYERS for path in python_files(layer)):
        package = package_of(path)
        named[package if path.name == "__init__.py" else f"{package}.{path.stem}"] = path
    return named


@cache
def import_graph() -> dict[str, set[str]]:
    """What each module of the package imports of it, in functions too."""
    named = modules()
    graph: dict[str, set[str]] = {name: set() for name in named}
    for module, path in named.items():
        for _, name in imports(path, package_of(path)):
            while name and name not in named:  # from a name in a module to the module
                name = name.rpartition(".")[0]
            graph[module].update({name} - {"", module})
    return graph


def room_of(module: str) -> str:
    """The room of a layer that a module lies in, "" for a module of the layer itself."""
    inner = module.split(".")[1 if layer_of(module) == "optformer" else 2 :]
    folder = ROOT / (layer_of(module) or "") / (inner[0] if inner else "")
    room = inner[0] if inner and folder.is_dir() else ""
    return "loop" if layer_of(module) == "training" and room in LOOP else room


def rooms_below(layer: str, room: str) -> set[str]:
    """The rooms that modules of a room may import, its own among them."""
    below: set[str] = {room}
    for floor in FLOORS[layer]:
        if room in floor:
            break
        below.update(floor)
    return below


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one at both ends; [] without one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("layer", LAYERS)
def test_imports__every_module__point_down_the_layers(layer: str) -> None:
    allowed = {None, *LAYERS[: LAYERS.index(layer) + 1]}
    reversed_arrows = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in python_files(layer)
        for line, name in imports(path, package_of(path))
        if layer_of(name) not in allowed
    ]
    assert python_files(layer)
    assert reversed_arrows == []


@pytest.mark.parametrize("layer", FLOORS)
def test_floors__every_folder_of_a_layer__is_on_one(layer: str) -> None:
    rooms = {room_of(module) for module in modules() if layer_of(module) == layer}
    assert rooms - {""} == {room for floor in FLOORS[layer] for room in floor}


@pytest.mark.parametrize("layer", FLOORS)
def test_imports__inside_a_layer__point_down_the_floors(layer: str) -> None:
    arrows_up = {
        f"{module} -> {room_of(name)}"
        for module, names in import_graph().items()
        if layer_of(module) == layer and room_of(module)
        for name in names
        if layer_of(name) == layer
        and room_of(name)
        and room_of(name) not in rooms_below(layer, room_of(module))
    }
    assert arrows_up == set()


def test_imports__of_the_whole_package__make_no_circle() -> None:
    assert circle_in(import_graph()) == []


def test_circle_in__modules_that_import_each_other__names_them() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}


@pytest.mark.parametrize(
    ("room", "below"),
    [
        ("studies", {"runtime", "studies"}),
        ("methods", {"runtime", "studies", "objectives", "methods"}),
        ("systems", {"runtime", "studies", "objectives", "methods", "systems"}),
    ],
)
def test_rooms_below__neighbours__are_not_among_them(room: str, below: set[str]) -> None:
    assert rooms_below("data", room) == below


@pytest.mark.parametrize("layer", LAYERS)
def test_imports__names_with_an_underscore__stay_in_their_layer(layer: str) -> None:
    borrowed = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in python_files(layer)
        for line, name in imports(path, package_of(path))
        if any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
        and layer_of(name) != layer
        and name != "optformer._version.__version__"  # the one place of the version
    ]
    assert borrowed == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import optformer.serving.study.study as s", ["optformer.serving.study.study"]),
        ("def f():\n    from optformer.training import loop", ["optformer.training.loop"]),
        ("from . import points", ["optformer.data.methods.points"]),
        ("from ..studies.spaces import SearchSpace", ["optformer.data.studies.spaces.SearchSpace"]),
        ("import_module('optformer.serving')", ["optformer.serving"]),
    ],
)
def test_imports__every_way_of_writing__is_seen(
    tmp_path: Path, source: str, names: list[str]
) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [name for _, name in imports(path, "optformer.data.methods")] == names


def test_packaging__every_folder_with_modules__is_a_listed_package() -> None:
    folders = {path.parent for layer in LAYERS for path in python_files(layer)}
    without_init = [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()]
    assert without_init == []
    present = {package_of(folder / "__init__.py") for folder in folders}
    assert present == set(SETUP["packages"])
    assert SETUP["packages"] == sorted(SETUP["packages"])


def test_packaging__every_layer__installs_under_one_name() -> None:
    expected = {
        "optformer" if layer == "optformer" else f"optformer.{layer}": layer for layer in LAYERS
    }
    assert SETUP["package-dir"] == expected
