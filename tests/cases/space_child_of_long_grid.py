"""A condition on an Int of 5,000 levels, or on a value of a continuum, gives legal points."""

import optformer as of

for parent, named in ((of.Int(1, 5000, log=True), 1), (of.Float(0.1, 0.9), 0.3)):
    space = of.SearchSpace(p=parent, rate=of.Float(0.0, 1.0, when={"p": [named]}))
    study = of.create_study(space, metric="loss", goal="minimize", seed=0)
    for _ in range(4):
        study.observe({"p": named, "rate": 0.5}, 0.0)
    for _ in range(20):
        trial = study.suggest()
        assert ("rate" in trial.params) == (trial.params["p"] == named), trial
        study.observe(trial, abs(trial.params["p"] - named))
