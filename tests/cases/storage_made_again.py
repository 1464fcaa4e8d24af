"""What is observed in a study that was deleted goes into no other of its name, and is an error."""

import optformer as of

SPACE = of.SearchSpace(x=of.Float(0, 1))
for address in ("sqlite:///s.db", "s.journal"):
    options = {"metric": "m", "goal": "maximize", "storage": address, "name": "s"}
    study = of.create_study(SPACE, **options)
    trial = study.suggest()
    of.delete_study("s", address)
    other = of.create_study(SPACE, **options)
    other.suggest()
    try:
        study.observe(trial, 0.5)
    except of.OptFormerError as error:
        assert "the study was deleted" in str(error), error
    else:
        raise AssertionError("it was taken")
    assert [trial.value for trial in other.trials] == [None]
