"""Tables of trials, one row a trial, beside a file of their search space: the one convention.

The space of `name.csv`, `name.jsonl` or `name.parquet` is in `name.space.yaml`. A table may hold
many studies on that space:

| Column | Meaning | Also read |
|---|---|---|
| `params.NAME` | the parameter's value, empty where its condition is off | `NAME`, `params_NAME`, `config/NAME` |
| `metrics.NAME` | a metric in the user's units, empty where the trial failed | `metric.NAME`, `NAME` |
| `value` | the metric, whatever it is called, in a table without columns of metrics | |
| `status` | completed, failed, stopped or pending; without it a value says completed | `state` |
| `reason` | why the trial failed | |
| `number` | the order of a study's trials; without it that of the rows | `step`, `trial` |
| `dataset` | what was tuned | `task` |
| `study` | the study's name | `study_name` |
| `source`, `method`, `run`, `seed` | tell studies apart whose numbers would repeat | |

What else a table holds is ignored, and so is a parameter's cell where its condition is off, and a
trial without a value that lacks parameters: it failed before it had them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.errors import ConfigError, DatasetError, SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Parameter, Value
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.space_files import load_space, save_space
from optformer.data.studies.spaces import SearchSpace, is_among
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.table_cells import (
    Cell,
    is_empty,
    read_number,
    read_status,
    read_value,
    written_choices,
)
from optformer.data.studies.table_files import SUFFIXES, read_columns, write_columns
from optformer.data.studies.trials import Trial, TrialStatus
