from __future__ import annotations

import pytest

from optformer.serving.benchmarks.rivals import method_names
from optformer.serving.cli import main


def test_methods__listed__every_name_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[2:]]
    assert [name for name, _ in lines] == method_names()
    assert all(len(text) > 10 for _, text in lines)
    assert dict(lines)["optformer"].startswith("The pretrained model")
