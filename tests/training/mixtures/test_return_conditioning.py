from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.metadata import metadata_from_text, metadata_to_text
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PolicyConfig, PriorConfig
from optformer.training.losses import negative_log_likelihood, study_losses
from optformer.training.mixtures.batch import IGNORED
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.mixtures.return_conditioning import (
    RETURN_LEVELS,
    advantage_weights,
    condition_on_best_return,
    condition_policy,
    return_levels,
)

Y = torch.tensor([[0.2, 0.6, 0.9, 0.1], [0.5, 0.5, 0.5, 0.0]])
OBSERVED = torch.tensor([[True, True, True, True], [True, False, True, True]])


def model(vocabulary: Vocabulary) -> OptFormerModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OptFormerModel(ModelConfig.named("tiny", vocabulary.size))


def test_advantage_weights__trials__are_measured_against_the_mean_before() -> None:
    policy = PolicyConfig(objective="advantages", temperature=0.5, largest_weight=2.5)
    weights = advantage_weights(policy, Y, OBSERVED, torch.tensor([0, 1, 2, 3]))
    expected = [
        [1.0, math.exp(0.4 / 0.5), 2.5, math.exp((0.1 - 1.7 / 3) / 0.5)],  # 0.9 is clipped
        [1.0, 1.0, 1.0, math.exp(-0.5 / 0.5)],  # the second is not known
    ]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_return_levels__more_regret_to_go__is_a_worse_level() -> None:
    later = torch.linspace(0.9, 0.0, 10)[:, None].repeat(1, 3)
    observed = torch.ones_like(later, dtype=torch.bool)
    levels = return_levels(later, observed, torch.full((10,), 0.9))
    assert levels == [level for level in reversed(RETURN_LEVELS) for _ in range(2)]
    observed[0] = False  # nothing is known of what comes: the worst
    assert return_levels(later, observed, torch.full((10,), 0.9))[0] == "worst"
    best = torch.tensor([0.9] * 9 + [0.0])  # its objective has no better value
    assert return_levels(later, torch.ones_like(observed), best)[9] == "best"


def test_condition_policy__plain_imitation__adds_nothing() -> None:
    rng = np.random.default_rng(0)
    conditioning = condition_policy(
        PolicyConfig(), Y, OBSERVED, Y.amax(1), torch.tensor([1, 1]), rng
    )
    assert conditioning.weights is None
    assert list(conditioning.metadata) == [{}, {}]
    assert rng.random() == np.random.default_rng(0).random()


def test_condition_on_best_return__study__tells_it_in_its_metadata() -> None:
    study = StudyConfig(SearchSpace(a=Float(0.0, 1.0)), "loss", "minimize", {"task": "toy"})
    text = metadata_to_text(condition_on_best_return(study), algorithm="gp ei")
    read, algorithm = metadata_from_text(text)
    assert read.metadata == {"task": "toy", "return": "best"}
    assert algorithm == "gp ei"


def test_prior__policy_objective__changes_nothing_else_of_a_batch(
    prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    config = replace(prior_config, studies_per_space=1, methods={"random": 0.5, "clustered": 0.5})
    plain, returns, advantages = (
        SyntheticPrior(config, vocabulary, 1, policy=PolicyConfig(objective=objective)).batch(3)
        for objective in ("imitation", "returns", "advantages")
    )
    for batch in (returns, advantages):
        assert torch.equal(batch.history.points.values, plain.history.points.values)
        assert torch.equal(batch.history.metric, plain.history.metric)
        assert torch.equal(batch.metrics.target, plain.metrics.target)
        assert torch.equal(batch.values.target, plain.values.target)
    assert torch.equal(advantages.metadata.ids, plain.metadata.ids)
    assert plain.value_weights is None
    assert advantages.value_weights is not None
    assert advantages.value_weights.shape == plain.values.target.shape
    studies = len(plain.history.metric)
    levels = [
        metadata_from_text(vocabulary.decode(returns.metadata.ids[s][mask].tolist()))[
            0
        ].metadata.get("return")
        for s, mask in enumerate(returns.metadata.mask)
    ]
    assert {level for level in levels if level} == set(RETURN_LEVELS)
    assert 0.5 * studies < sum(level is not None for level in levels) < studies


def test_negative_log_likelihood__weights__are_a_weighted_mean() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 4, IGNORED], [1, IGNORED, 2]])
    weights = torch.tensor([[1.0, 3.0, 9.0], [0.5, 9.0, 0.0]])
    logs = logits.log_softmax(-1)
    expected = -(logs[0, 0, 0] + 3 * logs[0, 1, 4] + 0.5 * logs[1, 0, 1]) / 4.5
    torch.testing.assert_close(negative_log_likelihood(logits, target, weights), expected)
    torch.testing.assert_close(
        negative_log_likelihood(logits, target, torch.ones(2, 3)),
        negative_log_likelihood(logits, target),
    )
    assert negative_log_likelihood(logits, target, torch.zeros(2, 3)) == 0


def test_study_losses__weight_of_zero__silences_a_query(
    prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    quick = replace(prior_config, methods={"random": 1.0})
    batch = SyntheticPrior(quick, vocabulary, 1).batch(1)
    network = model(vocabulary)
    weights = torch.ones_like(batch.values.target, dtype=torch.float32)
    weights[0] = 0.0
    said = study_losses(network, replace(batch, value_weights=weights), 0.8)
    changed = batch.values.target.clone()
    changed[0] = IGNORED
    silenced = replace(batch, values=replace(batch.values, target=changed))
    torch.testing.assert_close(said.value, study_losses(network, silenced, 0.8).value)


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_study_losses__share__weighs_metric_and_parameter_tokens_and_no_others(
    prior_config: PriorConfig, vocabulary: Vocabulary, share: float
) -> None:
    quick = replace(prior_config, methods={"random": 1.0})
    batch = SyntheticPrior(quick, vocabulary, 1).batch(1)
    network = model(vocabulary)
    losses = study_losses(network, batch, share)
    torch.testing.assert_close(losses.total, share * losses.metric + (1 - share) * losses.value)
    losses.total.backward()
    values, metrics = network.value_head.linear.weight.grad, network.metric_head.linear.weight.grad
    assert values is not None
    assert metrics is not None
    assert bool(values.any()) == (share < 1)
    assert metrics.any()
    # Metadata and separators are no query: neither head has an output for their tokens.
    assert (
        network.value_head.linear.out_features
        == network.config.num_bins + network.config.max_choices
    )
    assert network.metric_head.linear.out_features == network.config.num_bins + 1
