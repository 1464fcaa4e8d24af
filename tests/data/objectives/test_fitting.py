"""Scores agree with those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from optformer.data.objectives import fitting


class Guess:
    """Predicts from given probabilities."""

    def __init__(self, probabilities: np.ndarray):
        self.probabilities = probabilities
        self.classes_ = np.arange(probabilities.shape[1])

    def predict_proba(self, inputs: Any) -> np.ndarray:
        return self.probabilities

    def predict(self, inputs: Any) -> np.ndarray:
        labels: np.ndarray = self.probabilities.argmax(1)
        return labels


@pytest.mark.parametrize("classes", [2, 4])
def test_scores__of_classes__are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(classes, size=200)
    guess = Guess(rng.dirichlet(np.ones(classes), 200).round(2) + 1e-9)
    labels = guess.predict(None)
    given = np.zeros((200, 1))
    assert fitting.balanced_accuracy(guess, given, targets) == pytest.approx(
        metrics.balanced_accuracy_score(targets, labels)
    )
    assert fitting.f1_macro(guess, given, targets) == pytest.approx(
        metrics.f1_score(targets, labels, average="macro")
    )
    one_for_each = np.eye(classes)[targets]
    expected = metrics.roc_auc_score(
        one_for_each if classes > 2 else targets,
        guess.probabilities if classes > 2 else guess.probabilities[:, 1],
    )
    assert fitting.roc_auc(guess, given, targets) == pytest.approx(expected)
