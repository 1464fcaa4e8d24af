"""Search a space with a condition, with a constraint."""

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    """A made-up loss of a network."""
    layers = trial.suggest_int("layers", 1, 8)
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    momentum = trial.suggest_float("momentum", 0.0, 0.99) if optimizer == "sgd" else 0.9
    trial.set_user_attr("megabytes", 3.0 * layers)
    return abs(layers - 5) / 5 + 40 * (rate - 0.003) ** 2 / (rate + 0.003) + abs(momentum - 0.9)


if __name__ == "__main__":
    module = optunahub.load_module(package="samplers/optformer")
    sampler = module.OptFormerSampler(
        seed=0,
        metadata={"task": "image classification", "model": "convnet"},
        constraints_func=lambda trial: [trial.user_attrs["megabytes"] - 12.0],
    )
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=20)
    print(study.best_value, study.best_params)
