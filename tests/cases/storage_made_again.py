"""What is observed in a study that was deleted goes into no other of its name, and is an error."""

import pytest

import optformer as of

SPACE = of.SearchSpace(x=of.Float(0, 1))
for address in ("sqlite:///s.db", "s.journal"):
    options = {"metric": "m", "goal": "maximize", "storage": address, "name": "s"}
    study = of.create_study(SPACE, **options)
    trial = study.suggest()
    of.delete_study("s", address)
    other = of.create_study(SPACE, **options)
    other.suggest()
    with pytest.raises(of.OptFormerError, match="the study was deleted"):
        study.observe(trial, 0.5)
    assert [trial.value for trial in other.trials] == [None]
