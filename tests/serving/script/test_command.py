from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.serving.script.command import CommandTemplate, fill_path

SPACE = SearchSpace(
    {
        "lr": Float(1e-6, 1e-1, log=True),
        "layers": Int(1, 8),
        "net.name": Categorical(["mlp", "a b", "$(rm x)"]),
        "nesterov": Categorical([True, False]),
        "optimizer": Categorical(["sgd", "adam"]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        "dampening": Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        "amsgrad": Categorical([False, True], when={"optimizer": ["adam"]}),
        "a:--b": Categorical(["named", "otherwise"]),
    }
)
ADAM: dict[str, Value] = {
    "lr": 1e-5,
    "layers": 3,
    "net.name": "a b",
    "nesterov": True,
    "optimizer": "adam",
    "amsgrad": True,
    "a:--b": "named",
}
_COMMON = {name: value for name, value in ADAM.items() if name != "amsgrad"}
SGD: dict[str, Value] = {**_COMMON, "optimizer": "sgd", "momentum": 0.9, "dampening": 0.1}


def fill(arguments: list[str], params: dict[str, Value]) -> list[str]:
    return CommandTemplate(arguments, SPACE).fill(params, number=7, out=Path("/out/trial-0007"))


@pytest.mark.parametrize(
    ("arguments", "params", "expected"),
    [
        (["x", "--lr", "{lr}"], ADAM, ["x", "--lr", "1e-05"]),
        (["x", "--lr={lr}", "n={layers}"], ADAM, ["x", "--lr=1e-05", "n=3"]),
        (["x", "{layers}x{layers}"], ADAM, ["x", "3x3"]),
        (["x", "{net.name}"], ADAM, ["x", "a b"]),
        (["x", "{net.name}"], {**ADAM, "net.name": "$(rm x)"}, ["x", "$(rm x)"]),
        (["x", "{nesterov}"], ADAM, ["x", "True"]),
        (["x", "{nesterov:--fast}", "y"], ADAM, ["x", "--fast", "y"]),
        (["x", "{nesterov:--fast}", "y"], {**ADAM, "nesterov": False}, ["x", "y"]),
        (["x", "--v", "{nesterov:-f}"], {**ADAM, "nesterov": False}, ["x", "--v"]),
        (["x", "{nesterov:--fast/--no-fast}"], ADAM, ["x", "--fast"]),
        (["x", "{nesterov:-f/--bits=32}"], {**ADAM, "nesterov": False}, ["x", "--bits=32"]),
        (["x", "--v", "{amsgrad:--ams/--no-ams}"], SGD, ["x", "--v"]),
        (["x", "{a:--b}"], ADAM, ["x", "named"]),
        (["x", "{trial}", "{out}/model.pt"], ADAM, ["x", "7", "/out/trial-0007/model.pt"]),
        (["x", '{{"lr": {lr}}}', "{{lr}}"], ADAM, ["x", '{"lr": 1e-05}', "{lr}"]),
        (["x", ""], ADAM, ["x", ""]),
        (["{optimizer}.sh"], ADAM, ["adam.sh"]),
        (["x", "--momentum", "{momentum}", "y"], SGD, ["x", "--momentum", "0.9", "y"]),
        (["x", "--momentum", "{momentum}", "y"], ADAM, ["x", "y"]),
        (["x", "-m", "{momentum}"], ADAM, ["x"]),
        (["x", "--momentum={momentum}", "y"], ADAM, ["x", "y"]),
        (["x", "-v", "opt.momentum={momentum}"], ADAM, ["x", "-v"]),
        (["x", "positional", "{momentum}", "y"], ADAM, ["x", "positional", "y"]),
        (["x", "-1", "{momentum}"], ADAM, ["x", "-1"]),
        (["x", "--", "{momentum}"], ADAM, ["x", "--"]),
        (["x", "--lr={lr}", "{momentum}"], ADAM, ["x", "--lr=1e-05"]),
        (["x", "--a=1", "{momentum}"], ADAM, ["x", "--a=1"]),
        (["x", "--mom", "{momentum}", "{dampening}"], ADAM, ["x"]),
        (["x", "--mom", "{momentum}", "--damp", "{dampening}", "-z"], ADAM, ["x", "-z"]),
    ],
)
def test_command_template__filled__gives_arguments(
    arguments: list[str], params: dict[str, Value], expected: list[str]
) -> None:
    assert fill(arguments, params) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "after `--`, got none"),
        (["x", "{rate}"], r"unknown placeholder \{rate\}.*'lr', 'layers'"),
        (["x", "{lr:.3f}"], r"unknown placeholder \{lr:.3f\}"),
        (["x", "{}"], r"unknown placeholder \{\}"),
        (["x", '{"lr": 1}'], r"\{\{ or \}\} for a brace"),
        (["x", "{lr"], r"a single '\{' stands in argument '\{lr'"),
        (["x", "lr}"], r"a single '\}'"),
        (["x", "m-{momentum}"], "'momentum' is conditional"),
        (["x", "m={momentum}s"], "'momentum' is conditional"),
        (["x", "m={momentum}={dampening}"], "is conditional"),
        (["x", "opts={nesterov:--fast}"], "a flag stands inside argument"),
        (["x", "{lr:--fast}"], "'lr' must have the choices true and false"),
        (["x", "{optimizer:--adam/--sgd}"], "'optimizer' must have the choices true and false"),
        (["x", "{fast:--fast}"], r"unknown placeholder \{fast\}"),
        (["x", "{trial:--fast}"], r"unknown placeholder \{trial\}"),
    ],
)
def test_command_template__bad_command__refused_before_anything_runs(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        CommandTemplate(arguments, SPACE)


SMALL = SearchSpace(x=Float(-1e3, 1e3), n=Int(-9, 9), c=Categorical(["-1e-05"]))


@given(
    st.floats(-1e300, 1e300)
    | st.floats(-1e-300, 1e-300)
    | st.floats(1, 10).flatmap(lambda m: st.integers(-300, 300).map(lambda e: -m * 10.0**e))
)
def test_command_template__number_as_an_argument_of_its_own__read_by_argparse(x: float) -> None:
    space = SearchSpace(x=Float(-1e301, 1e301))
    filled = CommandTemplate(["train", "--x", "{x}"], space).fill({"x": x}, number=0, out=Path())
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    assert parser.parse_args(filled[1:]).x == x


@pytest.mark.parametrize(
    ("argument", "params", "expected"),
    [
        ("{x}", {"x": -5e-05}, "-0.00005"),
        ("{x}", {"x": -1e20}, "-100000000000000000000"),
        ("{x}", {"x": 5e-05}, "5e-05"),
        ("--x={x}", {"x": -5e-05}, "--x=-5e-05"),
        ("{n}", {"n": -5}, "-5"),
        ("{c}", {"c": "-1e-05"}, "-1e-05"),
    ],
)
def test_command_template__negative_numbers__no_exponent_where_they_stand_alone(
    argument: str, params: dict[str, Value], expected: str
) -> None:
    filled = CommandTemplate([argument], SMALL).fill(params, number=0, out=Path())
    assert filled == [expected]


def test_command_template__parameter_called_out__ambiguous_only_when_used() -> None:
    space = SearchSpace(out=Int(1, 3), lr=Float(0, 1))
    with pytest.raises(ConfigError, match="rename parameter 'out'"):
        CommandTemplate(["x", "{out}"], space)
    filled = CommandTemplate(["x", "{lr}"], space).fill({"out": 2, "lr": 0.5}, number=0, out=Path())
    assert filled == ["x", "0.5"]


def test_command_template__unused_parameters__listed() -> None:
    template = CommandTemplate(["x", "{lr}", "{momentum}"], SPACE)
    unused = ("layers", "net.name", "nesterov", "optimizer", "dampening", "amsgrad", "a:--b")
    assert template.unused == unused
    assert CommandTemplate(["x", "{nesterov:-n}"], SPACE).unused == tuple(
        name for name in SPACE.names if name != "nesterov"
    )


def test_command_template__program__known_unless_it_depends_on_the_trial() -> None:
    assert CommandTemplate(["python", "{lr}"], SPACE).program == "python"
    assert CommandTemplate(["{optimizer}.sh"], SPACE).program is None


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("result.json", "/o/trial-0003/result.json"),
        ("{out}/result.json", "/o/trial-0003/result.json"),
        ("/tmp/{trial}.json", "/tmp/3.json"),
    ],
)
def test_fill_path__placeholders__relative_to_the_trial(template: str, expected: str) -> None:
    assert fill_path(template, number=3, out=Path("/o/trial-0003")) == Path(expected)


def test_fill_path__parameter__refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown placeholder \{lr\} in path"):
        fill_path("{lr}.json", number=3, out=Path("/o"))
    with pytest.raises(ConfigError, match=r"unknown placeholder \{trial\} in path"):
        fill_path("{trial:-t}.json", number=3, out=Path("/o"))
