"""A parameter that a trial lacks is unknown there, not low: all points are suggested."""

import optuna

import optformer as of

optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = optuna.storages.InMemoryStorage()
old = optuna.create_study(storage=storage, study_name="s")
for layers in (1, 2, 3, 4):  # the script did not know `act` yet
    old.enqueue_trial({"layers": layers})
    trial = old.ask()
    old.tell(trial, float(trial.suggest_int("layers", 1, 4)))
trial = old.ask()
trial.suggest_int("layers", 1, 4), trial.suggest_categorical("act", ["relu", "tanh"])
old.tell(trial, 0.5)
study = of.load_study(storage=storage)
found = [dict(trial.params) for trial in study.trials[4:]]
try:
    while True:
        trial = study.suggest()
        found.append(dict(trial.params))
        study.observe(trial, 1.0)
except of.SpaceExhaustedError:
    pass
whole = [point for point in found if "act" in point]
assert len(whole) == len({repr(sorted(p.items())) for p in whole}) == 8, found
