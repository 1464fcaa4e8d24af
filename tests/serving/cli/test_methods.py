from __future__ import annotations

import pytest

from optformer.data.systems.architectures.registry import ARCHITECTURES
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
from optformer.data.systems.populations.registry import POPULATIONS
from optformer.serving.benchmarks.methods import METHODS
from optformer.serving.cli import main


def test_methods__listed__every_name_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    methods, systems = (
        [line.split(maxsplit=1) for line in part.splitlines()[2:]]
        for part in capsys.readouterr().out.split("\n\n")
    )
    assert [name for name, _ in methods] == METHODS.names()
    assert all(len(text) > 10 for _, text in methods)
    assert dict(methods)["optformer"].startswith("The pretrained model")
    known = [*POPULATIONS.names(), *ARCHITECTURES.names(), *RULE_SEARCHES.names()]
    assert [name for name, _ in systems] == known
    assert all(len(text) > 25 for _, text in systems)
