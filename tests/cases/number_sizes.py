"""Metrics of any size have deviations of that size."""

import optformer as of

found = []
for scale in (1.0, 1e150, 1e155, 1e300, 1e-150, 1e-170, 1e-300):
    space = of.SearchSpace(x=of.Float(0, 1))
    study = of.create_study(space, metric="loss", goal="minimize", seed=0)
    for x in (0.1, 0.3, 0.5, 0.7):
        study.observe({"x": x}, (x - 0.3) ** 2 * scale)
    (prediction,) = study.predict([{"x": 0.9}])
    found.append((prediction.mean / scale, prediction.std / scale))
    print(scale, *found[-1])
assert all(abs(a - b) < 1e-3 for one in found for a, b in zip(one, found[0], strict=True))
