"""Search methods: baselines, and generators of the histories a model learns from.

`create(name, config)` makes one, `names()` lists them, `register(name, factory)` adds another.
"""

from __future__ import annotations

from optformer.data.methods.base import SearchMethod
from optformer.data.methods.cma_es import RelaxedCmaEs
from optformer.data.methods.external.optuna_samplers import OptunaGp, OptunaTpe
from optformer.data.methods.gp_ei import GaussianProcessEI, GaussianProcessUCB
from optformer.data.methods.grid import Grid, ShuffledGrid
from optformer.data.methods.learned_evolution import LearnedEvolution
from optformer.data.methods.local_search import HillClimbing
from optformer.data.methods.quasi_random import QuasiRandom
from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.registry import create, names, register
from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.methods.simulated_annealing import SimulatedAnnealing

__all__ = ["SearchMethod", "create", "names", "register"]

register("gp-ei", GaussianProcessEI)
register("gp-ucb", GaussianProcessUCB)
register("grid", Grid)
register("hill-climbing", HillClimbing)
register("learned-evolution", LearnedEvolution)
register("optuna-gp", OptunaGp)
register("optuna-tpe", OptunaTpe)
register("quasi-random", QuasiRandom)
register("random", RandomSearch)
register("regularized-evolution", RegularizedEvolution)
register("relaxed-cma-es", RelaxedCmaEs)
register("shuffled-grid", ShuffledGrid)
register("simulated-annealing", SimulatedAnnealing)
