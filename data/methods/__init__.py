"""Search methods: baselines, and generators of the histories a model learns from.

`create(name, config)` makes one, `METHODS.names()` lists them, `METHODS.register(name, factory)`
adds another.
"""

from __future__ import annotations

from optformer.data.methods.base import SearchMethod
from optformer.data.methods.cma_es import RelaxedCmaEs
from optformer.data.methods.gp_ei import GaussianProcessEI, GaussianProcessUCB
from optformer.data.methods.grid import Grid, ShuffledGrid
from optformer.data.methods.learned_evolution import LearnedEvolution
from optformer.data.methods.local_search import HillClimbing
from optformer.data.methods.quasi_random import QuasiRandom
from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.registry import METHODS, create
from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.methods.simulated_annealing import SimulatedAnnealing

__all__ = ["METHODS", "SearchMethod", "create"]

METHODS.register("gp-ei", GaussianProcessEI)
METHODS.register("gp-ucb", GaussianProcessUCB)
METHODS.register("grid", Grid)
METHODS.register("hill-climbing", HillClimbing)
METHODS.register("learned-evolution", LearnedEvolution)
METHODS.register("quasi-random", QuasiRandom)
METHODS.register("random", RandomSearch)
METHODS.register("regularized-evolution", RegularizedEvolution)
METHODS.register("relaxed-cma-es", RelaxedCmaEs)
METHODS.register("shuffled-grid", ShuffledGrid)
METHODS.register("simulated-annealing", SimulatedAnnealing)

for _name, _factory, _line, _needs in (
    ("cma-es", "optuna_methods:cma_es", "Optuna's CmaEsSampler.", ("optuna", "cmaes")),
    ("gp", "optuna_methods:gp", "Optuna's GPSampler, 10 random start-up trials.", ("optuna",)),
    ("gp-1", "optuna_methods:gp_1", "Optuna's GPSampler, 1 random start-up trial.", ("optuna",)),
    ("gp-3", "optuna_methods:gp_3", "Optuna's GPSampler, 3 random start-up trials.", ("optuna",)),
    (
        "qlogei",
        "botorch_methods:QLogEI",
        "BoTorch's Gaussian process, qLogEI after a Sobol start.",
        ("botorch",),
    ),
    ("smac", "smac_methods:Smac", "SMAC's random forest.", ("smac",)),
    ("tpe", "optuna_methods:tpe", "Optuna's TPESampler, constant liar.", ("optuna",)),
):
    METHODS.register(_name, f"optformer.data.methods.external.{_factory}", _line, _needs)
