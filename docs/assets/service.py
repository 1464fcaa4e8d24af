"""Take the pictures of the service's page: real studies, the shipped model, a real browser.

    python -P docs/assets/service.py

It needs Chromium; on Debian: apt-get install chromium.
"""

from __future__ import annotations

import io
import runpy
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import optformer as of
from optformer.serving.service.app import create_app

HERE = Path(__file__).parent
BROWSER = HERE.parents[1] / "tests" / "serving" / "service" / "page" / "chromium.py"
EPOCHS = 12


def main() -> None:
    """Run the studies, serve them, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/studies.db"
        for search in (tune_network, tune_forest, tune_machine):
            search(storage)
        of.create_study(
            of.SearchSpace(lr=of.Float(1e-5, 1e-1, log=True), depth=of.Int(2, 48)),
            metric="perplexity",
            goal="minimize",
            storage=storage,
            name="tiny-language-model",
        )
        with serving(storage) as address, runpy.run_path(str(BROWSER))["Chromium"]() as browser:
            take(browser, address)


def tune_network(storage: str) -> None:
    """A network on digits, epoch by epoch, with a pruner; high learning rates diverge."""
    space = of.SearchSpace(
        learning_rate=of.Float(1e-4, 1.0, log=True, description="initial step size"),
        hidden_units=of.Int(8, 128, log=True),
        solver=of.Categorical(["sgd", "adam"]),
        momentum=of.Float(0.0, 0.99, when={"solver": ["sgd"]}),
        l2=of.Float(1e-7, 1e-1, log=True, description="weight decay"),
        batch_size=of.Int(16, 256, log=True),
    )
    study = of.create_study(
        space,
        metric="accuracy",
        goal="maximize",
        metadata={"model": "multilayer perceptron", "dataset": "handwritten digits"},
        metric_range=(0, 1),
        storage=storage,
        name="digits-network",
        pruner="median(n_warmup_steps=3)",
        seed=3,
    )
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, labels, test_size=0.5, random_state=0, stratify=labels)

    def objective(trial: Any) -> float:
        network = MLPClassifier(
            (trial["hidden_units"],),
            solver=trial["solver"],
            learning_rate_init=trial["learning_rate"],
            momentum=trial.params.get("momentum", 0.0),
            alpha=trial["l2"],
            batch_size=trial["batch_size"],
            random_state=trial.number,
        )
        accuracy = 0.0
        for epoch in range(EPOCHS):
            network.partial_fit(parts[0], parts[2], classes=range(10))
            if not np.isfinite(network.loss_) or network.loss_ > 20:
                raise ArithmeticError("the loss diverged")
            accuracy = float(network.score(parts[1], parts[3]))
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise of.TrialPruned
        return accuracy

    with np.errstate(all="ignore"):
        study.optimize(objective, trials=45, progress=False)
    study.suggest(2)


def tune_forest(storage: str) -> None:
    """A forest with two goals: few errors, few nodes."""
    space = of.SearchSpace(
        trees=of.Int(2, 100, log=True),
        max_depth=of.Int(1, 12),
        max_features=of.Float(0.05, 1.0),
        criterion=of.Categorical(["gini", "entropy"]),
    )
    study = of.create_study(
        space,
        metrics={"error": "minimize", "nodes": "minimize"},
        metadata={"model": "random forest", "dataset": "breast cancer"},
        storage=storage,
        name="small-forest",
        seed=0,
    )
    features, labels = load_breast_cancer(return_X_y=True)

    def objective(trial: Any) -> dict[str, float]:
        forest = RandomForestClassifier(
            trial["trees"],
            max_depth=trial["max_depth"],
            max_features=trial["max_features"],
            criterion=trial["criterion"],
            random_state=0,
        )
        error = 1 - float(cross_val_score(forest, features, labels, cv=3).mean())
        forest.fit(features, labels)
        return {"error": error, "nodes": sum(t.tree_.node_count for t in forest.estimators_)}

    study.optimize(objective, trials=20, progress=False)


def tune_machine(storage: str) -> None:
    """A support vector machine on wines."""
    space = of.SearchSpace(
        C=of.Float(1e-3, 1e3, log=True), gamma=of.Float(1e-5, 1e1, log=True, description="width")
    )
    study = of.create_study(
        space, metric="accuracy", goal="maximize", storage=storage, name="wine-svm", seed=0
    )
    features, labels = load_wine(return_X_y=True)

    def objective(trial: Any) -> float:
        machine = make_pipeline(StandardScaler(), SVC(C=trial["C"], gamma=trial["gamma"]))
        return float(cross_val_score(machine, features, labels, cv=5).mean())

    study.optimize(objective, trials=15, progress=False)


@contextmanager
def serving(storage: str) -> Iterator[str]:
    """The address of a server in a thread."""
    server = uvicorn.Server(uvicorn.Config(create_app(storage), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def take(browser: Any, address: str) -> None:
    """Take the pictures."""
    study = f"{address}studies/digits-network"
    browser.show(address, scale=1.25)
    end = "document.querySelector('.bottom').getBoundingClientRect().bottom"
    keep("service-index", browser.screenshot(height=browser.evaluate(end)))
    browser.show(study, scale=1.25)
    keep("service-study", browser.screenshot(height=top_of(browser, "responses")))
    browser.show(study, scale=1.25, dark=True)
    begin, end = top_of(browser, "responses"), top_of(browser, "trials")
    keep("service-study-dark", browser.screenshot(begin, end - begin))
    browser.show(address, width=360, scale=2)
    index = browser.screenshot(height=1150)
    browser.show(study, width=360, scale=2, dark=True)
    keep("service-phone", index, browser.screenshot(height=1150))


def top_of(browser: Any, part: str) -> float:
    """Where a part of the page begins, with a little space above it."""
    return float(browser.evaluate(f"document.getElementById('{part}').offsetTop")) - 8


def keep(name: str, *pictures: bytes) -> None:
    """Write pictures side by side as one small file."""
    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    gap = 40 if len(images) > 1 else 0
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "#8a929a")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + gap
    whole.save(HERE / f"{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
