"""A finite space is counted along its conditions: 48 suggestions, then SpaceExhaustedError."""

import optformer as of

kinds = "abcdefgh"
parts = {kind: of.Int(1, 6, when={"kind": [kind]}) for kind in kinds}
space = of.SearchSpace({"kind": of.Categorical(list(kinds)), **parts})
study = of.create_study(space, metric="loss", goal="minimize", seed=0)
seen = set()
try:
    while True:
        trial = study.suggest()
        seen.add(repr(dict(trial.params)))
        study.observe(trial, float(len(seen)))
except of.SpaceExhaustedError as error:
    print(error)
assert len(seen) == len(study.trials) == 48, (len(seen), len(study.trials))
