"""Bounds are bounds, whatever the other bound is; step grids of tenths have all their levels."""

import optformer as of
from optformer.data.studies.errors import SearchSpaceError

for parameter, value in (
    (of.Float(1e-12, 1e12, log=True), -5.0),
    (of.Float(1e-12, 1e12), 0.0),
    (of.Float(-1e12, 1e-3), 2e-3),
):
    try:
        parameter.validate(value)
    except SearchSpaceError as error:
        print(error)
    else:
        raise SystemExit(f"{parameter} takes {value}")
assert of.Float(0.1, 0.3, step=0.2).grid() == (0.1, 0.3)
