"""Very much text takes less than 1 GiB for the first suggestion, and is legal."""

import resource
import warnings

import optformer as of

warnings.simplefilter("ignore", of.OptFormerWarning)
words = [f"choice {i}" for i in range(256)]
for parameters, metadata in (
    ({f"c{i}": of.Categorical(words) for i in range(12)}, {}),
    ({"units": of.Ordinal(list(range(5000)))}, {}),
    ({"x": of.Float(0, 1)}, {"config": repr({f"key_{i}": i / 7 for i in range(500)})}),
):
    space = of.SearchSpace(parameters)
    study = of.create_study(space, metric="loss", goal="minimize", seed=0, metadata=metadata)
    space.validate(study.suggest().params)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{used:.2f} GiB")
    assert used < 1
