"""Does the policy search as well as the method it imitates?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optformer.batch import History
from optformer.checkpoint import Checkpoint
from optformer.data.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.synthetic.histories import METHODS, SyntheticHistory
from optformer.data.synthetic.spaces import draw_spaces
from optformer.tokenization.history import MetricKind
from optformer.tokenization.objective_scale import fit_scale
from optformer.tokenization.symbols import NUM_BINS
from optformer.training.prior import describe_spaces, partial_points, points_of

_REFERENCE = 1000  # random points that place a best value between the median (0) and the best (1)


@dataclass(frozen=True)
class ImitationScore:
    """Best value found, placed between the median (0) and the best (1) of 1,000 random points.

    Attributes:
        teacher: Method that is imitated.
        trials: Trials of each search.
        tasks: Synthetic functions, never seen in training (their seed is another).
        random_score: Mean score of random search.
        teacher_score: Mean score of the teacher.
        policy_score: Mean score of the checkpoint's policy, told the teacher's name.
        share: (policy - random) / (teacher - random).
    """

    teacher: str
    trials: int
    tasks: int
    random_score: float
    teacher_score: float
    policy_score: float
    share: float


@torch.no_grad()
def imitation_score(
    checkpoint: Checkpoint,
    *,
    teacher: str = "gp ei",
    parameters: int = 4,
    spaces: int = 15,
    functions: int = 4,
    trials: int = 30,
    start: int = 5,
    seed: int = 2024,
) -> ImitationScore:
    """Let random search, a teacher and the policy search the same functions.

    Args:
        checkpoint: Whose policy is measured.
        teacher: A method of `optformer.data.synthetic.histories`.
        parameters: Parameters of every space.
        spaces: Spaces drawn.
        functions: Functions on each.
        trials: Trials of each search.
        start: Random trials the policy starts with, as its teacher does.
        seed: Seed of tasks and searches.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_functions(draw_spaces(spaces, parameters, rng), functions, generator)
    reference = METHODS["random"](drawn, _REFERENCE, generator).outcome
    middle = reference.nanmedian(-1).values
    top = torch.nan_to_num(reference, nan=-torch.inf).amax(-1)

    def score(history: SyntheticHistory) -> float:
        best = torch.nan_to_num(history.outcome, nan=-torch.inf).amax(-1)
        return float(((best - middle) / (top - middle).clamp(min=1e-9)).clamp(-1, 2).mean())

    random_score = score(METHODS["random"](drawn, trials, generator))
    teacher_score = score(METHODS[teacher](drawn, trials, generator))
    policy_score = score(_run_policy(checkpoint, drawn, teacher, trials, start, generator))
    return ImitationScore(
        teacher=teacher,
        trials=trials,
        tasks=spaces * functions,
        random_score=random_score,
        teacher_score=teacher_score,
        policy_score=policy_score,
        share=(policy_score - random_score) / (teacher_score - random_score),
    )


def _run_policy(
    checkpoint: Checkpoint,
    functions: SyntheticFunctions,
    teacher: str,
    trials: int,
    start: int,
    generator: torch.Generator,
) -> SyntheticHistory:
    spaces = functions.spaces
    count, parameters = spaces.choices.shape
    studies = functions.mixture.shape[1]
    metadata = describe_spaces(
        spaces, ["objective"] * count, [teacher] * count, checkpoint.vocabulary
    )
    memory = checkpoint.model.encode_metadata(metadata).repeat(studies)
    history = METHODS["random"](functions, start, generator)
    while history.values.shape[2] < trials:
        outcome = history.outcome.flatten(0, 1)
        alive = ~outcome.isnan()
        scale = fit_scale(outcome.nan_to_num(), alive)
        encoded = History(
            points_of(spaces, history.values),
            torch.where(alive, scale.to_unit(outcome.nan_to_num()), 0.0),
            torch.where(alive, int(MetricKind.VALUE), int(MetricKind.FAILED)),
        )
        cache = checkpoint.model.encode_history(memory, encoded)
        values = torch.zeros(count, studies, 1, parameters)
        for slot in range(parameters):
            asked = torch.tensor([slot])
            partial = partial_points(points_of(spaces, values), torch.tensor([0]), asked)
            logits = checkpoint.model.value_logits(memory, cache, partial, asked)
            drawn = _draw(logits[:, 0], generator).reshape(count, studies, 1)
            values[..., slot] = drawn
            values = spaces.snap(values)
        observed = functions.observe(values, generator)
        history = SyntheticHistory(
            torch.cat([history.values, values], 2), torch.cat([history.outcome, observed], 2)
        )
    return history


def _draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    """A value a study: uniform inside the drawn bin, or a choice's index."""
    token = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    inside = torch.rand(token.shape, generator=generator)
    return torch.where(token >= NUM_BINS, (token - NUM_BINS).float(), (token + inside) / NUM_BINS)
