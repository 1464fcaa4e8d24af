"""Train a support vector machine on handwritten digits and print its validation accuracy.

Tune it with:

    optformer tune --space examples/digits.space.yaml --metric accuracy --goal maximize \
        --trials 20 --parallel 2 --metadata task="image classification" dataset=digits model=SVM \
        -- python examples/train_digits.py --C {C} --kernel {kernel} --gamma {gamma} \
        --degree {degree}
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC


def main() -> None:
    """Train once, with the hyperparameters of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--C", type=float, required=True)
    parser.add_argument("--kernel", choices=("rbf", "poly"), required=True)
    parser.add_argument("--gamma", type=float, required=True)
    parser.add_argument("--degree", type=int, default=3)
    args = parser.parse_args()

    inputs, targets = load_digits(return_X_y=True)
    inputs, held_out, targets, held_out_targets = train_test_split(
        inputs / 16.0, targets, train_size=600, test_size=400, random_state=0, stratify=targets
    )
    model = SVC(C=args.C, kernel=args.kernel, gamma=args.gamma, degree=args.degree)
    model.fit(inputs, targets)
    print(f"accuracy: {model.score(held_out, held_out_targets):.4f}")


if __name__ == "__main__":
    main()
