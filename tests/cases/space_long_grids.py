"""An Int of any number of levels gives 40 distinct values in 40 trials and 8 in a batch of 8."""

import math
import sys

import optformer as of

for high in (4096, 4097, 10**6):
    space = of.SearchSpace(n=of.Int(1, high, log=True))
    study = of.create_study(space, metric="loss", goal="minimize", seed=0)
    for _ in range(32):
        trial = study.suggest()
        study.observe(trial, math.log(trial.params["n"] / 7) ** 2)
    study.suggest(8)
    distinct = len({trial.params["n"] for trial in study.trials})
    print(high, distinct)
    if distinct != 40:
        sys.exit(1)
