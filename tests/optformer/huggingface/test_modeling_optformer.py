"""The model behind the interface of transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from optformer.data.studies.errors import CheckpointError, TokenizationError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.huggingface.configuration_optformer import OptFormerConfig
from optformer.huggingface.modeling_optformer import OptFormerForConditionalGeneration
from optformer.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from optformer.model.encoded import EncodedHistory, EncodedMetadata
from optformer.model.network import OptFormerModel
from optformer.model.tensors import UNSET, history_batch, metadata_batch, points_batch
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import StudyEncoder
from optformer.tokenization.history import (
    HistoryEncoding,
    MetricKind,
    Points,
    decode_trials,
    decode_values,
    encode_history,
    objective_values,
)
from optformer.tokenization.legality import legal_next, legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import fit_scale
from optformer.tokenization.study_codec import encode_study, to_text
from optformer.tokenization.transformers_wrapper import OptFormerTokenizer

Study = tuple[StudyConfig, list[Trial]]
BeamSearch = Callable[..., tuple[list[dict[str, Value]], list[float]]]


@pytest.fixture(scope="module")
def directory(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrapper") / "tiny"
    save_checkpoint(folder, tiny_checkpoint.model, tiny_checkpoint.vocabulary, tiny_checkpoint.run)
    return folder


def loaded(directory: Path) -> Any:
    return AutoModelForSeq2SeqLM.from_pretrained(directory)


@pytest.fixture(scope="module")
def model(directory: Path) -> Any:
    return loaded(directory)


@pytest.fixture(params=["finite", "mixed"])
def study(request: pytest.FixtureRequest) -> Study:
    name = request.param
    config: StudyConfig = request.getfixturevalue(f"{name}_config")
    trials: list[Trial] = request.getfixturevalue(f"{name}_trials")
    return config, trials


def inputs(
    config: StudyConfig, trials: list[Trial], model: Any, exact: bool = True
) -> dict[str, Tensor]:
    encoding = encode_study(config, trials, model.vocabulary)
    ids = torch.from_numpy(encoding.ids)[None]
    start = int((ids[0] == model.vocabulary.id("<start>")).nonzero())
    given = {"input_ids": ids[:, :start], "decoder_input_ids": ids[:, start:]}
    if exact:
        given["values"] = torch.from_numpy(encoding.values)[None, start:]
    return given


def encoded(config: StudyConfig, trials: list[Trial], exact: bool) -> HistoryEncoding:
    """The history with exact values, or with what the tokens stand for."""
    values, observed = objective_values(config, trials)
    scale = fit_scale(torch.from_numpy(values), torch.from_numpy(observed))
    history = encode_history(config, trials, scale)
    if exact:
        return history
    space = SpaceTransform(config.space, config.fixed)
    numbers = history.points.values.astype(np.float64)
    for slot in range(len(space.names)):
        if not space.is_choice[slot]:
            numbers[:, slot] = np.minimum(np.floor(numbers[:, slot] * 1000 + 1e-4), 999) / 1000
            numbers[:, slot] += 0.0005
    legal = space.project(numbers).astype(np.float32)
    metric = (np.minimum(np.floor(history.metric * 1000 + 1e-4), 999) + 0.5) / 1000
    measured = history.metric_kinds == MetricKind.VALUE
    return HistoryEncoding(
        Points(legal, history.points.kinds),
        np.where(measured, metric, 0.0).astype(np.float32),
        history.metric_kinds,
    )


def core_reading(
    checkpoint: Checkpoint, config: StudyConfig, history: HistoryEncoding, prefix: int | None
) -> tuple[OptFormerModel, EncodedMetadata, EncodedHistory]:
    core = checkpoint.model
    tensors = metadata_batch(
        [encode_metadata(config, checkpoint.vocabulary)], [legal_values(config.space)]
    )
    metadata = core.encode_metadata(tensors)
    return (
        core,
        metadata,
        core.encode_history(metadata, history_batch(history), prefix),
    )


# Files.


def test_from_pretrained__core_checkpoint__holds_the_same_numbers(
    directory: Path, tiny_checkpoint: Checkpoint
) -> None:
    model = loaded(directory)
    core = tiny_checkpoint.model
    assert list(model.model.state_dict()) == list(core.state_dict())
    for name, weight in core.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], weight), name
    assert torch.equal(model.model.tokens.numbers.cycles, core.tokens.numbers.cycles)
    assert model.model.config == core.config
    assert not model.training
    assert isinstance(model, OptFormerForConditionalGeneration)


def test_save_pretrained__core_and_back__is_bit_exact(
    model: Any, directory: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "theirs")
    read = load_checkpoint(tmp_path / "theirs")
    save_checkpoint(tmp_path / "ours", read.model, read.vocabulary, read.run)
    again = OptFormerForConditionalGeneration.from_pretrained(tmp_path / "ours")
    expected = load_file(directory / "model.safetensors")
    for weights in (
        load_file(tmp_path / "theirs" / "model.safetensors"),
        load_file(tmp_path / "ours" / "model.safetensors"),
        read.model.state_dict(),
        again.model.state_dict(),
    ):
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert read.model.config == tiny_checkpoint.model.config
    assert read.run["size"] == again.run["size"] == "tiny"
    assert read.run["saved_by"].startswith("transformers ")


def test_from_pretrained__weights_in_half_precision__computes_in_single(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    core = tiny_checkpoint
    save_checkpoint(tmp_path / "half", core.model, core.vocabulary, {}, torch.bfloat16)
    model, read = loaded(tmp_path / "half"), load_checkpoint(tmp_path / "half").model
    assert model.dtype is torch.float32
    assert all(torch.equal(model.model.state_dict()[n], w) for n, w in read.state_dict().items())


def test_from_pretrained__names_of_format_3__holds_the_same_numbers(
    directory: Path,
    tiny_checkpoint: Checkpoint,
    formerly: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    shutil.copytree(directory, tmp_path / "old")
    weights = formerly(load_file(directory / "model.safetensors"))
    save_file(weights, tmp_path / "old" / "model.safetensors", metadata={"format": "pt"})
    described = json.loads((directory / "config.json").read_text())
    (tmp_path / "old" / "config.json").write_text(json.dumps({**described, "format_version": 3}))
    model = loaded(tmp_path / "old")
    for name, weight in tiny_checkpoint.model.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], weight), name
    model.save_pretrained(tmp_path / "new")
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert written.keys() == tiny_checkpoint.model.state_dict().keys()
    assert json.loads((tmp_path / "new" / "config.json").read_text())["format_version"] == 4


def test_auto_classes__any_directory__need_no_remote_code(
    model: Any, directory: Path, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    assert "auto_map" not in described
    ours = json.loads((directory / "config.json").read_text())
    assert {key: described[key] for key in ours} == ours
    for folder in (directory, tmp_path):
        config = AutoConfig.from_pretrained(folder)
        assert type(config) is OptFormerConfig
        assert config.is_encoder_decoder
        assert config.vocabulary_hash == model.vocabulary.hash
        assert isinstance(AutoTokenizer.from_pretrained(folder), OptFormerTokenizer)
        generation = loaded(folder).generation_config
        assert generation.decoder_start_token_id == model.vocabulary.id("<start>")
        assert generation.eos_token_id == model.vocabulary.id("|")


def test_new_model__no_weights_given__starts_like_the_core(model: Any) -> None:
    fresh: Any = OptFormerForConditionalGeneration(model.config)
    assert torch.count_nonzero(fresh.model.metric_head.linear.weight) == 0
    width = fresh.model.config.width
    assert float(fresh.model.tokens.star_pool.weight.detach().std()) == pytest.approx(
        width**-0.5, rel=0.1
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format_version", 99, "format 99"),
        ("vocabulary_hash", "0" * 64, "vocabulary '0000"),
    ],
)
def test_from_pretrained__other_format_or_vocabulary__is_refused(
    directory: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    shutil.copytree(directory, tmp_path / "other")
    described = json.loads((directory / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**described, field: value}))
    with pytest.raises(CheckpointError, match=message):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "other")


def test_from_pretrained__weight_missing__is_refused(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "other")
    weights = load_file(directory / "model.safetensors")
    del weights["tokens.star"]
    save_file(weights, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"'model\.tokens\.star'"):
        OptFormerForConditionalGeneration.from_pretrained(tmp_path / "other")


# Forward.


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("prefix", [0, 2, 4])
def test_forward__star__agrees_with_the_metric_of_the_core(
    model: Any,
    tiny_checkpoint: Checkpoint,
    study: Study,
    exact: bool,
    prefix: int,
) -> None:
    config, trials = study
    history = encoded(config, trials, exact)
    core, metadata, past = core_reading(tiny_checkpoint, config, history, prefix)
    expected = core.metric_logits(
        metadata, past, points_batch(history.points), torch.arange(len(trials))
    )[0].log_softmax(-1)
    with torch.no_grad():
        logits = model(**inputs(config, trials, model, exact), prefix=prefix).logits[0]
    width = len(config.space) + 3
    logs = logits[width - 2 :: width].log_softmax(-1)  # after each `*`
    bins = model.vocabulary.bins
    torch.testing.assert_close(
        logs[:, bins.start : bins.stop], expected[:, :-1], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        logs[:, model.vocabulary.id("<failed>")], expected[:, -1], atol=1e-4, rtol=1e-4
    )
    assert int(logs.isfinite().sum()) == len(trials) * 1001


def test_forward__every_position__agrees_with_the_core_and_the_legality(
    model: Any, tiny_checkpoint: Checkpoint, study: Study
) -> None:
    """Against one question at a time, and the legality of one prefix at a time."""
    config, trials = study
    vocabulary, count = model.vocabulary, len(config.space)
    history = encoded(config, trials, exact=True)
    core, metadata, past = core_reading(tiny_checkpoint, config, history, 0)
    given = inputs(config, trials, model)
    with torch.no_grad():
        logs = model(**given).logits[0].log_softmax(-1)
    ids = given["decoder_input_ids"][0].tolist()
    space = SpaceTransform(config.space, config.fixed)
    for position in range(len(ids)):
        trial, slot = divmod(position, count + 3)
        prefix = ids[position - slot + 1 : position + 1]
        legal = torch.from_numpy(legal_next(config.space, vocabulary, prefix))
        if slot in space.fixed:
            token = model.vocabulary.bins.start + int(space.fixed[slot] * 1000)
            assert logs[position].exp().nonzero()[:, 0].tolist() == [token]
            continue
        assert torch.equal(logs[position].isfinite(), legal), position
        if slot < count and int(legal.sum()) > 1:
            known = np.arange(count) < slot
            row = slice(trial, trial + 1)
            points = (
                history.points
                if trial < len(trials)
                else Points(
                    np.zeros((trial + 1, count), np.float32), np.zeros((trial + 1, count), int)
                )
            )
            partial = Points(
                np.where(known, points.values[row], 0.0).astype(np.float32),
                np.where(known, points.kinds[row], UNSET),
            )
            expected = core.value_logits(
                metadata,
                past,
                points_batch(partial),
                torch.tensor([slot]),
                torch.tensor([trial]),
            )[0, 0]
            legal_ids = legal.nonzero()[:, 0]
            torch.testing.assert_close(
                logs[position, legal_ids],
                expected.log_softmax(-1)[legal_ids - vocabulary.bins.start],
                atol=1e-4,
                rtol=1e-4,
            )


def test_forward__batch_of_different_studies__equals_one_at_a_time(
    model: Any,
    finite_config: StudyConfig,
    finite_trials: list[Trial],
    mixed_config: StudyConfig,
    mixed_trials: list[Trial],
) -> None:
    line = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), "y", "minimize")
    studies = [
        (mixed_config, mixed_trials[:2]),
        (line, [Trial(0, {"x": 0.3}).finish(1.0), Trial(1, {"x": 0.7}).finish(2.0)]),
        (finite_config, finite_trials),
        (finite_config, finite_trials[:1]),
    ]
    single = [inputs(config, trials, model) for config, trials in studies]
    padding = {"input_ids": 1, "decoder_input_ids": 1, "values": 0}
    batch = {
        key: torch.nn.utils.rnn.pad_sequence(
            [one[key][0] for one in single], batch_first=True, padding_value=pad
        )
        for key, pad in padding.items()
    }
    with torch.no_grad():
        together = model(**batch).logits
        for row, one in enumerate(single):
            alone = model(**one).logits[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4, rtol=1e-4)


def test_forward__last_logits_only__are_the_last(model: Any, study: Study) -> None:
    given = inputs(*study, model)
    with torch.no_grad():
        torch.testing.assert_close(
            model(**given, logits_to_keep=3).logits, model(**given).logits[:, -3:]
        )


def test_forward__labels__give_the_weighted_loss(model: Any, study: Study) -> None:
    config, trials = study
    given = inputs(config, trials, model)
    ids, count = given["decoder_input_ids"], len(config.space)
    given["decoder_input_ids"], given["values"] = ids[:, :-1], given["values"][:, :-1]
    with torch.no_grad():
        output = model(**given, labels=ids[:, 1:])
    logs = output.logits[0].log_softmax(-1)
    total = weight = 0.0
    for position, label in enumerate(ids[0, 1:].tolist()):
        slot = position % (count + 3)
        if slot == count + 1 and label != model.vocabulary.id("<pending>"):
            total, weight = total - float(logs[position, label]), weight + 1
        elif slot < count and label != model.vocabulary.id("<inactive>"):
            name = config.space.names[slot]
            if name not in config.fixed:
                total, weight = total - float(logs[position, label]) / count, weight + 1 / count
    assert float(output.loss) == pytest.approx(total / weight, rel=1e-4)
    ignored = model(**given, labels=torch.full_like(ids[:, 1:], -100)).loss
    assert float(ignored.detach()) == 0.0
    shifted = model(input_ids=given["input_ids"], values=given["values"], labels=ids[:, 1:])
    assert float(shifted.loss.detach()) == pytest.approx(float(output.loss))


def test_forward__gradient_steps__lower_the_loss_and_move_the_core(
    directory: Path, study: Study
) -> None:
    model = OptFormerForConditionalGeneration.from_pretrained(directory).train()
    given = inputs(*study, model)
    labels = given["decoder_input_ids"][:, 1:]
    given = {**given, "decoder_input_ids": given["decoder_input_ids"][:, :-1]}
    given["values"] = given["values"][:, :-1]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = model(**given, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
    assert model.model.tokens.star.grad is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder_input_ids": lambda ids: ids[:, 1:]}, "begin with <start>"),
        ({"decoder_input_ids": lambda ids: ids.flip(1).roll(1, 1)}, "row 0, trial 0"),
        ({"decoder_input_ids": lambda ids: ids.scatter(1, torch.tensor([[3]]), 1)}, "padded"),
        ({"values": lambda values: values.roll(1, 1)}, "is not in bin"),
        ({"values": lambda values: torch.cat([values, values], 1)}, "exact values"),
        ({"input_ids": lambda ids: ids[:, 1:]}, "control symbol|expected"),
        ({"input_ids": lambda ids: ids[:, :-1]}, "."),
    ],
)
def test_forward__not_a_study__says_what_is_wrong(
    model: Any,
    mixed_config: StudyConfig,
    mixed_trials: list[Trial],
    change: dict[str, Any],
    message: str,
) -> None:
    given = inputs(mixed_config, mixed_trials, model)
    for key, function in change.items():
        given[key] = function(given[key])
    with pytest.raises(TokenizationError, match=message):
        model(**given)


def test_forward__illegal_label__is_refused(model: Any, finite_config: StudyConfig) -> None:
    given = inputs(finite_config, [], model)
    with pytest.raises(TokenizationError, match="position 0: label 1234 is not legal"):
        model(**given, labels=torch.tensor([[1234]]))


# Generation.


def test_generate__beams__agree_with_a_plain_beam_search(
    model: Any, tiny_checkpoint: Checkpoint, study: Study, beam_search: BeamSearch
) -> None:
    config, trials = study
    with torch.no_grad():
        ours = StudyEncoder(tiny_checkpoint, config).encode(trials)
    space = SpaceTransform(config.space, config.fixed)
    points, scores = beam_search(ours, space, 6)
    star = model.vocabulary.id("*")
    result = model.generate(
        **inputs(config, trials, model),
        num_beams=6,
        num_return_sequences=6,
        length_penalty=0.0,
        eos_token_id=star,
        output_scores=True,
        return_dict_in_generate=True,
    )
    count = len(config.space)
    found = [
        decode_values(config.space, model.vocabulary, row[-count - 1 : -1].tolist())
        for row in result.sequences
    ]
    assert found == points
    assert result.sequences_scores.tolist() == pytest.approx(scores, abs=1e-4)
    assert (result.sequences[:, -1] == star).all()


def test_generate__as_many_beams_as_trials__finds_them_all(
    model: Any,
    tiny_checkpoint: Checkpoint,
    finite_config: StudyConfig,
    finite_trials: list[Trial],
    beam_search: BeamSearch,
) -> None:
    with torch.no_grad():
        ours = StudyEncoder(tiny_checkpoint, finite_config).encode(finite_trials)
    points, scores = beam_search(ours, SpaceTransform(finite_config.space, {}), 100)
    assert len(points) == len(list(finite_config.space.grid())) == 40
    result = model.generate(
        **inputs(finite_config, finite_trials, model),
        num_beams=40,
        num_return_sequences=40,
        length_penalty=0.0,
        eos_token_id=model.vocabulary.id("*"),
        output_scores=True,
        return_dict_in_generate=True,
    )
    assert result.sequences_scores.tolist() == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.6}, {"temperature": 5.0, "top_k": 0}])
def test_generate__sampled__is_a_legal_trial(
    model: Any, study: Study, settings: dict[str, Any]
) -> None:
    config, trials = study
    torch.manual_seed(0)  # `generate` takes no generator
    given = inputs(config, trials, model)
    rows = model.generate(**given, do_sample=True, num_return_sequences=12, **settings)
    length = given["decoder_input_ids"].shape[1]
    assert torch.equal(rows[:, :length], given["decoder_input_ids"].expand(12, -1))
    drawn = rows[:, length:]
    for row in drawn.tolist():
        for place, token in enumerate(row):
            assert legal_next(config.space, model.vocabulary, row[:place])[token]
    decoded = decode_trials(config.space, model.vocabulary, drawn.numpy())
    for trial in decoded:
        assert config.space.validate(trial.params) == trial.params
        assert trial.params.items() >= config.fixed.items()
        assert trial.metric_kind in (MetricKind.VALUE, MetricKind.FAILED)
    assert len({json.dumps(trial.params) for trial in decoded}) > 3


def test_generate__greedy__does_not_depend_on_the_cache(model: Any, study: Study) -> None:
    given = inputs(*study, model)
    cached = model.generate(**given)
    assert torch.equal(cached, model.generate(**given, use_cache=False))
    assert cached.shape[1] == given["decoder_input_ids"].shape[1] + len(study[0].space) + 3
    assert int(cached[0, -1]) == model.vocabulary.id("|")


def test_generate__two_trials__the_first_is_causal(
    model: Any, finite_config: StudyConfig, finite_trials: list[Trial]
) -> None:
    given = inputs(finite_config, finite_trials, model)
    width = len(finite_config.space) + 3
    rows = model.generate(
        **given, eos_token_id=model.vocabulary.id("<start>"), max_new_tokens=2 * width
    )
    length = given["decoder_input_ids"].shape[1]
    for step in range(2 * width):
        with torch.no_grad():
            logits = model(
                input_ids=given["input_ids"],
                decoder_input_ids=rows[:, : length + step],
                values=given["values"],
                prefix=len(finite_trials),
                logits_to_keep=1,
            ).logits
        assert int(logits[0, -1].argmax()) == int(rows[0, length + step])


def test_generate__prefix__changes_what_trials_see(
    model: Any, mixed_config: StudyConfig, mixed_trials: list[Trial]
) -> None:
    given = inputs(mixed_config, mixed_trials, model)

    def first(prefix: int | None) -> Any:
        output = model.generate(
            **given,
            prefix=prefix,
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        return output.logits[0]

    assert torch.equal(first(None), first(4))
    with torch.no_grad():
        torch.testing.assert_close(first(0), model(**given, logits_to_keep=1).logits[:, 0])
    assert not torch.allclose(first(0), first(4))


def test_generate__several_studies_without_history__end_each_at_their_own_length(
    model: Any, finite_config: StudyConfig, mixed_config: StudyConfig
) -> None:
    short = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), "y", "minimize")
    configs = [finite_config, mixed_config, short]
    rows = [inputs(config, [], model)["input_ids"][0] for config in configs]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)
    together = model.generate(input_ids=ids, attention_mask=(ids != 1).long(), num_beams=3)
    for config, row, result in zip(configs, rows, together, strict=True):
        alone = model.generate(input_ids=row[None], num_beams=3)[0]
        assert len(alone) == len(config.space) + 4
        assert torch.equal(result[: len(alone)], alone)
        assert (result[len(alone) :] == 1).all()


def test_generate__unseen_history__is_encoded_once(
    model: Any,
    mixed_config: StudyConfig,
    mixed_trials: list[Trial],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, ...]] = []
    encode = OptFormerModel.encode_history

    def counted(
        self: OptFormerModel, metadata: EncodedMetadata, history: Any, prefix: int | None
    ) -> EncodedHistory:
        seen.append(tuple(history.metric.shape))
        return encode(self, metadata, history, prefix)

    monkeypatch.setattr(OptFormerModel, "encode_history", counted)
    model.generate(**inputs(mixed_config, mixed_trials, model), num_beams=5)
    assert seen == [(1, 4)]


def test_tokenizer__text_of_a_study__feeds_the_model(
    model: Any,
    directory: Path,
    finite_config: StudyConfig,
    finite_trials: list[Trial],
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    metadata, _, trials = to_text(finite_config, finite_trials).partition("<start>")
    ids = tokenizer(metadata, return_tensors="pt")
    prompt = tokenizer("<start>" + trials, return_tensors="pt")["input_ids"]
    written = model.generate(**ids, decoder_input_ids=prompt)
    expected = model.generate(**inputs(finite_config, finite_trials, model, exact=False))
    assert torch.equal(written, expected)
    text = str(tokenizer.decode(written[0]))
    assert text.startswith("<start>" + trials)
    assert text.endswith("|")


def test_guide__its_example__runs(
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guide = Path(__file__).parents[3] / "docs" / "how-to" / "use-with-transformers.md"
    code = guide.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.setattr("optformer.model.checkpoint.SHIPPED", directory)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(guide), "exec"), {})
    assert capsys.readouterr().out.count("'optimizer'") == 4
    assert load_checkpoint("our-model").run["saved_by"]


def test_suggestion__fresh_process__does_not_import_transformers() -> None:
    code = "import sys, optformer.planning.planner; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
