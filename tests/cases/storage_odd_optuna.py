"""A study of Optuna with an `if`, a parameter of one value, a value outside its range and a trial
pruned without a report goes on here: the condition is kept, the odd trials are told and left out.
"""

import warnings

import optuna

import optformer as of

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")


def objective(trial: optuna.Trial) -> float:
    kind = trial.suggest_categorical("kind", ["sgd", "adam"])
    trial.suggest_int("epochs", 3, 3)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    if trial.number == 1:
        raise optuna.TrialPruned
    return lr + (trial.suggest_float("momentum", 0, 1) if kind == "sgd" else 0.0)


for address in ("sqlite:///o.db", "journal:///o.journal"):
    storage = address if "sqlite" in address else None
    if storage is None:
        backend = optuna.storages.journal.JournalFileBackend("o.journal")
        storage = optuna.storages.JournalStorage(backend)
    theirs = optuna.create_study(
        storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    theirs.enqueue_trial({"lr": 3.0})
    theirs.optimize(objective, n_trials=20)
    study = of.load_study(storage=address)
    assert study.config.space["momentum"].when == {"kind": ("sgd",)}, study.config.space
    assert study.trials[1].reason == "pruned before it reported a value"
    for _ in range(6):
        trial = study.suggest()
        assert ("momentum" in trial.params) == (trial.params["kind"] == "sgd")
        assert trial.params["epochs"] == 3
        study.observe(trial, 0.5)
    assert of.load_study(storage=address).trials == study.trials
