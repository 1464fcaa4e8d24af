"""The network and the strategy it drives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from optformer.data.methods.evolution_strategies.ask_tell import LearnedStrategy
from optformer.data.methods.evolution_strategies.functions import draw_bowls
from optformer.data.methods.evolution_strategies.network import (
    NUM_WEIGHTS,
    SHAPES,
    fitness_features,
    flatten,
    learning_rates,
    load_weights,
    random_weights,
    recombination_weights,
    save_weights,
    unflatten,
)
from optformer.data.methods.evolution_strategies.strategy import (
    candidates,
    initial_state,
    minimize,
    update,
)
from optformer.data.studies.errors import CheckpointError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


class TestNetwork:
    def test_features__known_losses__are_score_rank_and_improvement(self) -> None:
        losses = torch.tensor([[3.0, 1.0, 1.0, 7.0]], dtype=torch.float64)
        features = fitness_features(losses, torch.tensor([2.0], dtype=torch.float64))[0]
        assert features[:, 0].tolist() == pytest.approx((losses[0] - 3).div(6**0.5).tolist())
        assert features[:, 1].tolist() == pytest.approx([0.125, -0.25, -0.25, 0.375])
        assert features[:, 2].tolist() == [0, 1, 1, 0]

    def test_features__equal_losses__are_finite_and_zero(self) -> None:
        features = fitness_features(torch.full((1, 5), 2.0), torch.tensor([2.0]))
        assert bool((features == 0).all())

    def test_weights__any_losses__are_positive_and_add_up_to_one(self) -> None:
        weights = recombination_weights(
            load_weights(), fitness_features(normal(1, 9), torch.full((1,), torch.inf))
        )
        assert bool((weights > 0).all())
        assert float(weights.sum()) == pytest.approx(1.0)

    def test_weights__trained__favour_better_candidates(self) -> None:
        losses = torch.linspace(0, 1, 8, dtype=torch.float64)[None]
        shares = recombination_weights(
            load_weights(), fitness_features(losses, torch.full((1,), torch.inf))
        )[0]
        assert shares[:4].sum() > 0.7

    def test_rates__any_paths__lie_between_zero_and_one(self) -> None:
        paths = 3 * normal(1, 5, 3)
        for rate in learning_rates(load_weights(), paths, -paths, generation=4, population=8):
            assert rate.shape == (1, 5)
            assert bool(((rate > 0) & (rate < 1)).all())

    def test_unflatten__flatten__is_the_way_back(self) -> None:
        vectors = normal(3, NUM_WEIGHTS)
        assert torch.equal(flatten(unflatten(vectors)), vectors)

    def test_file__written__reads_back(self, tmp_path: Path) -> None:
        weights = random_weights(generator())
        save_weights(weights, tmp_path / "w.safetensors")
        again = load_weights(tmp_path / "w.safetensors")
        assert {name: tuple(w.shape[1:]) for name, w in again.items()} == SHAPES
        assert torch.allclose(flatten(again), flatten(weights), atol=1e-6)

    def test_file__missing_or_foreign__says_so(self, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        with pytest.raises(CheckpointError, match="cannot read the learned strategy"):
            load_weights(tmp_path / "none.safetensors")
        save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
        with pytest.raises(CheckpointError, match="meta-train it again"):
            load_weights(tmp_path / "a.safetensors")


class TestStrategy:
    def test_update__candidates_in_another_order__moves_the_same(self) -> None:
        weights = load_weights()
        states = [initial_state(1, 4), initial_state(1, 4)]
        for step in range(5):
            points = candidates(states[0], normal(1, 8, 4, seed=step))
            losses = normal(1, 8, seed=100 + step)
            losses[0, 3] = losses[0, 5]  # a tie
            order = torch.randperm(8, generator=generator(step))
            states[0] = update(weights, states[0], points, losses)
            states[1] = update(weights, states[1], points[:, order], losses[:, order])
        for name in ("mean", "deviation", "mean_path", "deviation_path", "best"):
            assert torch.allclose(getattr(states[0], name), getattr(states[1], name), atol=1e-10)
        assert not torch.allclose(states[0].mean, initial_state(1, 4).mean)

    def test_update__losses_shifted_and_scaled__moves_the_same(self) -> None:
        points, losses = candidates(initial_state(1, 3), normal(1, 6, 3)), normal(1, 6, seed=1)
        one, other = (
            update(load_weights(), initial_state(1, 3), points, values)
            for values in (losses, 100 * losses - 7)
        )
        assert torch.allclose(one.mean, other.mean)

    def test_candidates__far_outside__are_clipped_to_the_cube(self) -> None:
        points = candidates(initial_state(1, 3), 50 * normal(1, 6, 3))
        assert float(points.min()) == 0.0
        assert float(points.max()) == 1.0

    def test_minimize__many_networks__equal_one_at_a_time(self) -> None:
        family = draw_bowls(3, 2, generator(), torch.float64)
        weights = unflatten(normal(2, NUM_WEIGHTS) / 2)
        together = minimize(weights, family, (2, 3, 2), 4, 6, generator(5))
        for i in range(2):
            alone = {name: weight[i : i + 1] for name, weight in weights.items()}
            best = minimize(alone, family, (1, 3, 2), 4, 6, generator(5))
            assert torch.allclose(best[0], together[i])

    def test_minimize__trained__beats_the_untrained_on_held_out_functions(self) -> None:
        family = draw_bowls(24, 4, generator(987654321), torch.float64)
        trained, untrained = (
            minimize(weights, family, (1, 24, 4), 15, 8, generator(1))[0, :, -1].log10()
            for weights in (load_weights(), random_weights(generator(0)))
        )
        assert float((trained - untrained).mean()) < -0.5
        assert wilcoxon(trained, untrained, alternative="less").pvalue < 1e-3

    def test_ask_tell__one_seed__repeats_itself_and_converges(self) -> None:
        def run() -> LearnedStrategy:
            strategy = LearnedStrategy(3, np.random.default_rng(0))
            for _ in range(25):
                points = np.stack([strategy.ask() for _ in range(8)])
                strategy.tell(points, ((points - 0.3) ** 2).sum(1))
            return strategy

        first, second = run(), run()
        assert np.array_equal(first.mean, second.mean)
        assert np.abs(first.mean - 0.3).max() < 0.01
        assert first.deviation.max() < 0.1
