"""What the recurrent controllers share in learning from rewards.

Their networks differ. The controller of architectures reads and writes each parameter by an
embedding and a head of its own; that of update rules has one vocabulary for all positions.

Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist
reinforcement learning"; Schulman et al. 2017, "Proximal policy optimization algorithms".
"""

from __future__ import annotations

from torch import Tensor


class MovingBaseline:
    """Exponential moving average of the mean rewards of batches.

    Args:
        decay: Share of the old average that stays at each batch, in [0, 1).

    Attributes:
        value: The average, None before the first batch.
    """

    def __init__(self, decay: float) -> None:
        self.value: float | None = None
        self._decay = decay

    def update(self, mean: float) -> float:
        """Take in the mean reward of a batch.

        Returns:
            What is subtracted from the rewards of this batch: the average before it, or its own
            mean when it is the first.
        """
        before = mean if self.value is None else self.value
        self.value = self._decay * before + (1.0 - self._decay) * mean
        return before


def clipped_surrogate(
    log_probability: Tensor, before: Tensor, advantage: Tensor, clip: float
) -> Tensor:
    """The objective of proximal policy optimization, which is ascended.

    Args:
        log_probability: Log-probability of each choice under the policy, any shape.
        before: Log-probability of each choice under the policy that made it.
        advantage: What each choice was worth beyond the baseline, of a shape that broadcasts.
        clip: How far the ratio of the probabilities may leave 1 to any gain, above 0.

    Returns:
        One number a choice.
    """
    ratio = (log_probability - before).exp()
    return (ratio * advantage).minimum(ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
