"""A choice that no command line can hold fails its trials; there is no traceback."""

from pathlib import Path

from _tuning import command, trials

from optformer.serving.cli import main

argv = command("print('acc: 1')", "--trials", "4")
Path("space.yaml").rename("space.json")
Path("space.json").write_text('{"x": {"type": "categorical", "choices": ["a", "b\\u0000"]}}')
argv[argv.index("space.yaml")] = "space.json"
assert main(argv[4:]) == 0
reasons = {trial.params["x"]: trial.reason for trial in trials()}
assert reasons == {"a": None, "b\0": "cannot start: embedded null byte"}, reasons
