"""Training speed beside a plain encoder-decoder of the same size, on the same studies.

    python -m optformer.training.evaluation.throughput --config small.yaml --batches 8

The other model is transformers' T5 (Raffel et al. 2020) with random weights, as many parameters and
the same vocabulary: its encoder reads a study's metadata, its decoder every token of every trial,
written by this project's tokenizer, and learns to predict all values (the policy) and all metrics.
Both take whole training steps, one after the other on each batch, in the same precision. Trials are
those of the studies' histories; the further queries of a batch are not counted for us. Seconds
are those of computing on a CPU, and of the clock on an accelerator.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import T5Config, T5ForConditionalGeneration

from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.model.tensors import to_device
from optformer.tokenization.history import HistoryEncoding, trial_ids
from optformer.tokenization.history import Points as EncodedPoints
from optformer.tokenization.symbols import NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary
from optformer.training.config import TrainingConfig, find_config
from optformer.training.losses import study_losses
from optformer.training.mixtures.batch import IGNORED, Queries, StudyBatch
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.schedule import make_optimizers
from optformer.training.speed import fast_precision

_SCORES = 2**28  # attention scores a head that the other model may hold at a time

Step = Callable[[StudyBatch], None]


@dataclass(frozen=True)
class Throughput:
    """How fast a model trains.

    Attributes:
        name: Model and queries.
        parameters: Number of the model's weights.
        tokens: Mean tokens a study that the decoder computes.
        trials_per_second: Trials of the studies' histories a second of training.
        ratio: Trials a second relative to the T5's.
    """

    name: str
    parameters: int
    tokens: float
    trials_per_second: float
    ratio: float


def measure_throughput(
    config: TrainingConfig,
    vocabulary: Vocabulary,
    device: torch.device,
    *,
    batches: int = 8,
    seed: int = 0,
) -> list[Throughput]:
    """Time training steps of both models.

    Args:
        config: Whose model and studies are taken; mined queries are left out.
        vocabulary: Vocabulary of both models.
        device: Where both train, in the precision that is fast there.
        batches: Batches that are timed; one before them warms up.
        seed: Seed of studies and weights.

    Returns:
        The T5; ours with the queries it trains on; ours with the T5's queries, which are every
        value and every metric of every trial.
    """
    prior = SyntheticPrior(replace(config.prior, mining=0.0), vocabulary, seed)
    drawn = [to_device(prior.batch(number), device) for number in range(batches + 1)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        core = OptFormerModel(ModelConfig.named(config.model, vocabulary.size)).to(device)
        parameters = _parameters(core)
        plain = _t5(core.config, parameters)
    torch.nn.Module.to(plain, device)
    ours, theirs = _our_step(core, config), _their_step(plain, vocabulary)
    entrants: list[tuple[str, Step, Callable[[StudyBatch], StudyBatch], int]] = [
        ("T5, every value and metric", theirs, lambda batch: batch, _parameters(plain)),
        ("OptFormer, as it trains", ours, lambda batch: batch, parameters),
        (
            "OptFormer, every value and metric",
            ours,
            lambda batch: with_all_queries(batch, vocabulary),
            parameters,
        ),
    ]
    seconds, tokens = np.zeros(len(entrants)), np.zeros(len(entrants))
    studies = trials = 0
    for number, batch in enumerate(tqdm(drawn, unit="batch")):
        for i, (_, step, queries_of, _) in enumerate(entrants):
            given = queries_of(batch)
            taken = _timed(step, given, device)
            if number:
                seconds[i] += taken
                tokens[i] += _their_tokens(given) if step is theirs else _our_tokens(given)
        if number:
            studies += len(batch.history.metric)
            trials += batch.history.metric.numel()
    return [
        Throughput(name, count, tokens[i] / studies, trials / seconds[i], seconds[0] / seconds[i])
        for i, (name, _, _, count) in enumerate(entrants)
    ]


def with_all_queries(batch: StudyBatch, vocabulary: Vocabulary) -> StudyBatch:
    """The batch with a query for every metric and value of its trials, each from those before."""
    ids = _ids(batch, vocabulary)
    device = batch.history.metric.device
    studies, trials, parameters = batch.history.points.values.shape
    numbers = torch.arange(trials, device=device)
    rows = numbers.repeat_interleave(parameters)
    slots = torch.arange(parameters, device=device).repeat(trials)
    past = batch.history.points
    partial = past.partial(rows, slots)
    values = ids[..., :parameters].reshape(studies, -1)
    bins, choices = vocabulary.bins.start, vocabulary.choices.start
    target = torch.where(values >= choices, NUM_BINS + values - choices, values - bins)
    known = (target >= 0) & (target < batch.metadata.legal.shape[-1])
    legal = torch.gather(
        batch.metadata.legal[:, slots].repeat_interleave(studies // len(batch.metadata.ids), 0),
        -1,
        target.clamp(0, batch.metadata.legal.shape[-1] - 1)[..., None],
    )[..., 0]
    metric = ids[..., -2] - bins
    return replace(
        batch,
        prefix=0,
        metrics=Queries(
            past, numbers, torch.where((metric >= 0) & (metric < NUM_BINS), metric, IGNORED)
        ),
        values=Queries(partial, rows, torch.where(known & legal, target, IGNORED)),
        value_slots=slots,
        value_weights=None,
    )


def _t5(config: ModelConfig, parameters: int) -> T5ForConditionalGeneration:
    """The T5 of our width whose number of decoder layers brings it nearest to our size."""

    def sized(layers: int) -> T5Config:
        return T5Config(
            vocab_size=config.vocabulary_size,
            d_model=config.width,
            d_kv=config.width // config.heads,
            d_ff=config.feedforward,
            num_heads=config.heads,
            num_layers=config.encoder_layers,
            num_decoder_layers=layers,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            use_cache=False,
        )

    def distance(layers: int) -> int:
        with torch.device("meta"):
            return abs(_parameters(T5ForConditionalGeneration(sized(layers))) - parameters)

    return T5ForConditionalGeneration(sized(min(range(1, 2 * config.layers + 2), key=distance)))


def _autocast(device: torch.device) -> torch.autocast:
    precision = fast_precision(device)
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def _our_step(core: OptFormerModel, config: TrainingConfig) -> Step:
    optimizers = make_optimizers(core, config)

    def step(batch: StudyBatch) -> None:
        with _autocast(batch.history.metric.device):
            loss = study_losses(core, batch, config.metric_share).total
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return step


def _their_step(plain: T5ForConditionalGeneration, vocabulary: Vocabulary) -> Step:
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3)

    def step(batch: StudyBatch) -> None:
        ids = _ids(batch, vocabulary)
        learned = torch.ones(ids.shape[-1], dtype=torch.bool, device=ids.device)
        learned[[-3, -1]] = False  # separators
        labels = ids.masked_fill(~learned, IGNORED).flatten(1)
        known = ids.flatten(1)
        known = torch.cat([torch.zeros_like(known[:, :1]), known[:, :-1]], 1)
        functions = len(known) // len(batch.metadata.ids)
        words = batch.metadata.ids.repeat_interleave(functions, 0)
        mask = batch.metadata.mask.repeat_interleave(functions, 0).long()
        at_a_time = max(1, _SCORES // (known.shape[1] ** 2 * plain.config.num_heads))
        for rows in torch.split(torch.arange(len(known), device=ids.device), at_a_time):
            with _autocast(ids.device):
                loss = plain(
                    input_ids=words[rows],
                    attention_mask=mask[rows],
                    decoder_input_ids=known[rows],
                    labels=labels[rows],
                ).loss
            (loss * len(rows) / len(known)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _ids(batch: StudyBatch, vocabulary: Vocabulary) -> Tensor:
    """Token ids of all trials, (B, T, P + 3)."""
    history = batch.history
    points = EncodedPoints(
        history.points.values.flatten(0, 1).cpu().numpy(),
        history.points.kinds.flatten(0, 1).cpu().numpy(),
    )
    metric, kinds = (
        part.flatten().cpu().numpy() for part in (history.metric, history.metric_kinds)
    )
    ids = trial_ids(HistoryEncoding(points, metric, kinds), vocabulary)
    shaped = torch.from_numpy(ids).reshape(*history.metric.shape, -1)
    return shaped.to(history.metric.device)


def _timed(step: Step, batch: StudyBatch, device: torch.device) -> float:
    """Seconds of a step; of computing on a CPU, which other programs may share."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    step(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def _our_tokens(batch: StudyBatch) -> int:
    return batch.trials + batch.values.target.numel()


def _their_tokens(batch: StudyBatch) -> int:
    trials = batch.history.metric.numel()
    return trials * (batch.history.points.values.shape[-1] + 3)


def _parameters(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a table of speeds to standard output; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m optformer.training.evaluation.throughput")
    parser.add_argument("--config", default="small.yaml", help="training configuration")
    parser.add_argument("--batches", type=int, default=8, help="batches that are timed (default 8)")
    parser.add_argument("--threads", type=int, help="threads of both models on a CPU")
    parser.add_argument("--cpu", action="store_true", help="leave an accelerator alone")
    args = parser.parse_args(arguments)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = TrainingConfig.load(find_config(args.config))
    config = replace(config, tables=(), prior=replace(config.prior, emulated=0.0))
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    found = measure_throughput(config, default_vocabulary(), device, batches=args.batches)
    rows = [
        "| Model | Parameters | Tokens a study | Trials a second | Ratio |",
        "|---|---|---|---|---|",
    ]
    for speed in found:
        rows.append(
            f"| {speed.name} | {speed.parameters:,} | {speed.tokens:.0f} | "
            f"{speed.trials_per_second:.0f} | {speed.ratio:.1f} |"
        )
    sys.stdout.write("\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
