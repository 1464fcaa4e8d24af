"""Beside four measurements of .1 among many near .53, the 90 % interval holds .1."""

import random

import optformer as of

rng = random.Random(0)
space = of.SearchSpace(x=of.Float(0, 1), y=of.Float(0, 1))
study = of.create_study(space, metric="accuracy", goal="maximize", seed=0, metric_range=(0, 1))
for _ in range(12):
    x, y = 0.3 + 0.7 * rng.random(), rng.random()
    study.observe({"x": x, "y": y}, 0.53 + 0.005 * x * (1 - y) + 0.002 * rng.random())
for x in (0.02, 0.04, 0.06, 0.08):
    study.observe({"x": x, "y": 0.5}, 0.1)
for prediction in study.predict([{"x": 0.04, "y": 0.5}, {"x": 0.05, "y": 0.5}]):
    print(prediction.mean, dict(prediction.quantiles))
    assert prediction.quantiles[0.05] <= 0.1 <= prediction.quantiles[0.95]
    assert prediction.mean < 0.3
