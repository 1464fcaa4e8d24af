"""The model behind the interface of transformers.

Importing this module registers `OptFormerConfig`, `OptFormerForConditionalGeneration` and the
tokenizer with the Auto classes, so that `AutoModelForSeq2SeqLM.from_pretrained` and
`AutoTokenizer.from_pretrained` read a checkpoint directory. Weights in files have the names that
they have in `OptFormerModel`, and both loaders read the same files. Nothing on the way to a
suggestion imports this module.

Metadata ids go to the encoder as `input_ids`, the start symbol and the ids of trials to the decoder
as `decoder_input_ids`: `StudyEncoding.ids`, cut before the start symbol.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils.generic import ModelOutput

from optformer.data.runtime.bounded_files import read_json
from optformer.data.studies.errors import CheckpointError, TokenizationError
from optformer.huggingface.configuration_optformer import OptFormerConfig
from optformer.huggingface.next_token import (
    IGNORED,
    EncodedRows,
    encode_rows,
    next_token_logits,
    next_token_loss,
)
from optformer.huggingface.token_spaces import TokenSpaces, read_metadata
from optformer.huggingface.trial_tokens import TrialRows, read_trials
from optformer.model.checkpoint import JSON_BYTES, RUN
from optformer.model.config import ModelConfig
from optformer.model.layers import NumberFeatures
from optformer.model.network import OptFormerModel
from optformer.model.state_keys import RENAMED
from optformer.tokenization import symbols as sym
from optformer.tokenization import transformers_wrapper as tokenizer_wrapper
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary

_CACHE = next(f.name for f in fields(Seq2SeqLMOutput) if f.name in ("cache", "past_key_values"))
"""What this release of transformers calls what `generate` keeps."""

_KEY_MAPPING = {
    rf"^{old}(?=$|\.weight$|\.table\.|\.\d)": f"model.{new}" for old, new in RENAMED.items()
} | {rf"^{piece}(?=\.)": f"model.{piece}" for piece in {n.split(".")[0] for n in RENAMED.values()}}
"""Patterns of weights' names in files, of format 3 first, and their names in the wrapper."""

_START, _PAD = sym.SYMBOL_IDS[sym.START], sym.SYMBOL_IDS[sym.PAD]


@dataclass
class OptFormerEncoderOutput(ModelOutput):
    """Encoded metadata of B rows.

    Attributes:
        study: Number of the study each row belongs to, int64, (B,).
        spaces: Encoded spaces, those with the same number of parameters together.
    """

    study: Tensor | None = None
    spaces: tuple[TokenSpaces, ...] | None = None


class OptFormerEncoder(nn.Module):
    """The encoder of metadata as `generate` wants it; it has no weights of its own.

    Args:
        model: The network.
        vocabulary: The vocabulary of the ids.
    """

    main_input_name = "input_ids"

    def __init__(self, model: OptFormerModel, vocabulary: Vocabulary):
        super().__init__()
        self.model, self.vocabulary = model, vocabulary

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **ignored: Any
    ) -> OptFormerEncoderOutput:
        """Encode the metadata of studies.

        Args:
            input_ids: Metadata ids, padded at the right, int64, (B, L).
            attention_mask: Which ids are real, (B, L); padding ids never are.
            ignored: Further settings that transformers passes to an encoder.

        Raises:
            TokenizationError: A row is not the metadata of a study.
        """
        real = input_ids != _PAD
        if attention_mask is not None:
            real &= attention_mask.bool()
        rows = [row[kept].tolist() for row, kept in zip(input_ids, real, strict=True)]
        spaces = read_metadata(self.model, rows, self.vocabulary)
        study = torch.arange(len(rows), device=input_ids.device)
        return OptFormerEncoderOutput(study=study, spaces=tuple(spaces))


@dataclass(frozen=True)
class HistoryCache:
    """What `generate` keeps from step to step: the encoded history of every study.

    Attributes:
        histories: One for each of `OptFormerEncoderOutput.spaces`.
    """

    histories: tuple[EncodedRows, ...]

    is_compileable = False  # `generate` needs both
    is_croppable = False

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Nothing to reorder: all beams of a study share its history."""


class OptFormerForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """`OptFormerModel` as a sequence-to-sequence language model over studies.

    Attributes:
        model: The network.
        run: Record of the training, from the checkpoint's `run.json`.

    Args:
        config: The architecture and the vocabulary it was trained with.

    Raises:
        CheckpointError: The vocabulary is not the one of this release.
        ConfigError: The architecture has an unknown or impossible setting.
    """

    config_class = OptFormerConfig
    main_input_name = "input_ids"
    base_model_prefix = ""
    model: OptFormerModel

    def __init__(self, config: OptFormerConfig):
        super().__init__(config)
        if config.vocabulary_hash != self.vocabulary.hash:
            raise CheckpointError(
                f"the weights were trained with vocabulary {config.vocabulary_hash!r}, this "
                f"release has {self.vocabulary.hash!r}; use load_checkpoint of "
                "optformer.model.checkpoint"
            )
        self.run: dict[str, Any] = {}
        self.model = OptFormerModel(ModelConfig.from_dict(config.architecture))
        self.post_init()  # type: ignore[no-untyped-call]
        self.generation_config = _generation_config()

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids."""
        return default_vocabulary()

    def _init_weights(self, module: nn.Module) -> None:
        """Compute buffers, which no file holds; weights are drawn already, or loaded."""
        if isinstance(module, NumberFeatures):
            with torch.no_grad():
                fresh = NumberFeatures(len(module.cycles), len(module.bins))
                module.cycles.copy_(fresh.cycles)
                module.bins.copy_(fresh.bins)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *arguments: Any, **settings: Any
    ) -> Any:
        """Load a checkpoint, written by `save_checkpoint` or `save_pretrained`.

        Args:
            pretrained_model_name_or_path: Its directory, or what else transformers accepts.
            arguments: Passed on to transformers.
            settings: Passed on to transformers.

        Returns:
            The model; with `output_loading_info=True`, also the loading info of transformers.

        Raises:
            CheckpointError: The weights are not those of the architecture, or the format or
                vocabulary is not the one of this release.
        """
        wants_info = settings.pop("output_loading_info", False)
        settings = {"key_mapping": _KEY_MAPPING, **settings, "output_loading_info": True}
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *arguments, **settings)
        model, info = loaded
        absent = sorted(info["missing_keys"]) + sorted(info["unexpected_keys"])
        if absent:
            raise CheckpointError(
                f"{pretrained_model_name_or_path} does not hold the weights of its config.json: "
                f"{absent[0]!r} is missing or unknown; copy the checkpoint again"
            )
        if model.generation_config.decoder_start_token_id is None:
            model.generation_config = _generation_config()
        record = Path(pretrained_model_name_or_path) / RUN
        if record.is_file():
            try:
                model.run = read_json(record, limit=JSON_BYTES)
            except (OSError, ValueError) as error:
                raise CheckpointError(f"{record} cannot be read: {error}") from error
        return (model, info) if wants_info else model

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **settings: Any
    ) -> None:
        """Write a whole checkpoint, which `load_checkpoint` and `create_study` read as well.

        Args:
            save_directory: Where it goes.
            settings: Passed on to transformers.
        """
        weights = {"state_dict": self.model.state_dict(), "save_original_format": False}
        super().save_pretrained(save_directory, **{**weights, **settings})
        if not settings.get("is_main_process", True):
            return
        record = {**self.run, "saved_by": f"transformers {transformers.__version__}"}
        folder = Path(save_directory)
        (folder / RUN).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        self.vocabulary.save(folder)

    def get_encoder(self, modality: str | None = None) -> OptFormerEncoder:
        """The encoder of metadata; transformers passes `modality`, which has no effect."""
        del modality
        return OptFormerEncoder(self.model, self.vocabulary)

    def get_input_embeddings(self) -> nn.Module:
        """Embedding of the metadata's tokens."""
        return self.model.encoder.embed_tokens

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        values: Tensor | None = None,
        labels: Tensor | None = None,
        prefix: int | None = 0,
        encoder_outputs: OptFormerEncoderOutput | None = None,
        past_key_values: HistoryCache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Predict the next token after every token of the trials.

        Args:
            input_ids: Metadata ids of B studies, padded at the right, int64, (B, L).
            attention_mask: Which of them are real, (B, L).
            decoder_input_ids: The start symbol and trials, the last perhaps unfinished, padded at
                the right, int64, (B, N); made from `labels` when absent.
            values: Exact scaled values of the first decoder tokens, (B, at most N), as in
                `StudyEncoding.values`; without them a token stands for the legal value nearest to
                its bin's centre.
            labels: The token to come at each position, int64, (B, N). The loss weighs a metric by
                1, a parameter by 1 / P, separators, fixed and inactive parameters by 0, and leaves
                out -100, pending and missing.
            prefix: How many of the first trials see each other both ways; all finished ones when
                None; 0 is causal. The logits of these trials are of no use and carry no loss.
            encoder_outputs: The output of `get_encoder()`, instead of `input_ids`.
            past_key_values: Encoded histories of an earlier call with the same finished trials.
            use_cache: Return the encoded histories; rows of one study must share their trials.
            logits_to_keep: Give logits of the last positions only; all when 0.
            return_dict: Give a tuple when False.

        Returns:
            `loss` when labels are given, and `logits`, float32, (B, N, V), -inf where not legal.

        Raises:
            TokenizationError: Ids are not a study, or a label is not legal.
        """
        if encoder_outputs is None:
            if input_ids is None:
                raise TokenizationError("expected the metadata as input_ids, got none")
            encoder_outputs = self.get_encoder()(input_ids, attention_mask)
        if encoder_outputs.study is None or encoder_outputs.spaces is None:
            raise TokenizationError("expected encoder_outputs as get_encoder() gives them")
        if decoder_input_ids is None:
            if labels is None:
                raise TokenizationError("expected trials as decoder_input_ids or labels, got none")
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        batch, count = decoder_input_ids.shape
        positions = range(count - logits_to_keep if logits_to_keep else 0, count)
        shape = (batch, len(positions), self.vocabulary.size)
        logits = torch.empty(shape, dtype=torch.float32, device=decoder_input_ids.device)
        weights = torch.zeros(shape[:2], device=decoder_input_ids.device)
        histories = []
        for number, spaces in enumerate(encoder_outputs.spaces):
            own, space = spaces.members(encoder_outputs.study)
            exact = None if values is None else values[own]
            rows = read_trials(spaces, space, decoder_input_ids[own], exact)
            past = past_key_values.histories[number] if past_key_values else None
            encoded = self._encode(spaces, rows, past, prefix, bool(use_cache))
            histories.append(past or encoded)
            logits[own], weights[own] = next_token_logits(
                self.model, spaces, rows, encoded, positions
            )
        loss = None
        if labels is not None:
            loss = next_token_loss(logits, weights, labels[:, positions.start :])
        kept: Any = {_CACHE: HistoryCache(tuple(histories)) if use_cache else None}
        output = Seq2SeqLMOutput(loss=loss, logits=logits, **kept)
        return output.to_tuple() if return_dict is False else output

    def _encode(
        self,
        spaces: TokenSpaces,
        rows: TrialRows,
        past: EncodedRows | None,
        prefix: int | None,
        shared: bool,
    ) -> EncodedRows:
        """The encoded histories of some rows; of an earlier call as long as they suffice.

        Args:
            spaces: The rows' spaces.
            rows: The trials.
            past: Histories of an earlier call.
            prefix: How many trials see each other both ways, if there are no such histories.
            shared: Whether rows of one study share their trials, so that one is encoded for all.
        """
        if past is not None:
            if past.history.length == rows.finished.length:
                return past
            prefix = past.prefix  # trials that were generated since are causal
        elif shared:
            rows = rows.without_copies(max(1, len(rows.space) // len(spaces.spaces)))
        return encode_rows(self.model, spaces, rows, prefix)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The decoder's ids for labels without holes: the start symbol, then all but the last."""
        start = torch.full_like(labels[:, :1], _START)
        return torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, _PAD)], 1)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        encoder_outputs: OptFormerEncoderOutput | None = None,
        values: Tensor | None = None,
        prefix: int | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments that `generate` gives to `forward`: all ids, the history encoded once.

        Args:
            input_ids: The decoder's ids so far, (B, N).
            encoder_outputs: The encoded metadata.
            values: Exact values of the trials that were given, (B, at most N).
            prefix: How many of the given trials see each other both ways; all when None.
            use_cache: Whether to keep the encoded histories.
            kwargs: Further arguments of transformers: after the first step, encoded histories.
        """
        return {
            "decoder_input_ids": input_ids,
            "encoder_outputs": encoder_outputs,
            "past_key_values": kwargs.get(_CACHE),
            "values": values,
            "prefix": prefix,
            "use_cache": use_cache,
            "logits_to_keep": 1,
        }

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `HistoryCache` comes from the first step


def register() -> None:
    """Let the Auto classes of transformers find the model and its tokenizer."""
    AutoConfig.register(OptFormerConfig.model_type, OptFormerConfig, exist_ok=True)
    AutoModelForSeq2SeqLM.register(
        OptFormerConfig, OptFormerForConditionalGeneration, exist_ok=True
    )
    tokenizer_wrapper.register(OptFormerConfig)


def _generation_config() -> GenerationConfig:
    """Write one trial, then stop."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        decoder_start_token_id=_START,
        bos_token_id=_START,
        eos_token_id=sym.SYMBOL_IDS[sym.TRIAL_END],
        pad_token_id=_PAD,
        max_new_tokens=sym.MAX_PARAMETERS + 3,
    )


register()
