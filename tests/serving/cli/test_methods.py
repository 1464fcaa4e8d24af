from __future__ import annotations

import pytest

from optformer.data.systems.architectures import registry as architectures
from optformer.data.systems.optimizer_search import registry as rules
from optformer.data.systems.populations import registry as populations
from optformer.serving.benchmarks.rivals import method_names
from optformer.serving.cli import main


def test_methods__listed__every_name_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    methods, systems = (
        [line.split(maxsplit=1) for line in part.splitlines()[2:]]
        for part in capsys.readouterr().out.split("\n\n")
    )
    assert [name for name, _ in methods] == method_names()
    assert all(len(text) > 10 for _, text in methods)
    assert dict(methods)["optformer"].startswith("The pretrained model")
    known = [*populations.names(), *architectures.names(), *rules.names()]
    assert [name for name, _ in systems] == known
    assert all(len(text) > 25 for _, text in systems)
