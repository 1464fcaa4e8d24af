"""The model behind the interface of transformers.

Importing this module registers `OptFormerConfig`, `OptFormerForStudies` and the tokenizer with the
Auto classes, so that `AutoModelForSeq2SeqLM.from_pretrained` and `AutoTokenizer.from_pretrained`
read a checkpoint directory. Weights have the same names as in `OptFormerModel`, and both loaders
read the same files. Nothing on the way to a suggestion imports this module.

Metadata ids go to the encoder as `input_ids`, the start symbol and the ids of trials to the decoder
as `decoder_input_ids`: `StudyEncoding.ids`, cut before the start symbol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils.generic import ModelOutput

from optformer.data.studies.errors import CheckpointError, TokenizationError
from optformer.huggingface.token_spaces import TokenSpaces, read_metadata
from optformer.huggingface.trial_tokens import (
    IGNORED,
    EncodedTrials,
    encode_trials,
    next_token_logits,
    next_token_loss,
    read_trials,
)
from optformer.model.checkpoint import FORMAT_VERSION, RUN
from optformer.model.config import ModelConfig
from optformer.model.layers import NumberFeatures
from optformer.model.network import OptFormerModel
from optformer.tokenization import symbols as sym
from optformer.tokenization import transformers_wrapper as tokenizer_wrapper
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary

_CACHE = next(f.name for f in fields(Seq2SeqLMOutput) if f.name in ("cache", "past_key_values"))
"""What this release of transformers calls what `generate` keeps."""

_START, _PAD = sym.SYMBOL_IDS[sym.START], sym.SYMBOL_IDS[sym.PAD]


class OptFormerConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """What `config.json` of a checkpoint says.

    Args:
        format_version: Format of the checkpoint.
        vocabulary_hash: Hash of the vocabulary it was trained with.
        architecture: Sizes, as `ModelConfig.to_dict` gives them.
        settings: What transformers itself keeps in a configuration.

    Raises:
        CheckpointError: The format is not the one this release reads.
    """

    model_type = "optformer"

    def __init__(
        self,
        format_version: int = FORMAT_VERSION,
        vocabulary_hash: str = "",
        architecture: dict[str, int] | None = None,
        **settings: Any,
    ):
        if format_version != FORMAT_VERSION:
            raise CheckpointError(
                f"the checkpoint has format {format_version!r}, this class reads {FORMAT_VERSION}; "
                "write an older one anew with load_checkpoint and save_checkpoint"
            )
        self.format_version = format_version
        self.vocabulary_hash = vocabulary_hash
        self.architecture = dict(architecture or {})
        # Numbers are embedded in single precision, so the weights are loaded so by default.
        super().__init__(**{"is_encoder_decoder": True, "dtype": "float32", **settings})

    @property
    def vocab_size(self) -> int:
        """Number of tokens V, by the name that transformers asks for."""
        return self.architecture["vocabulary_size"]


@dataclass
class MetadataOutput(ModelOutput):
    """Metadata of B rows as the encoder reads it.

    Attributes:
        study: Number of the study each row belongs to, int64, (B,).
        groups: For every number of parameters, the studies that have it and their spaces.
    """

    study: Tensor | None = None
    groups: tuple[tuple[list[int], TokenSpaces], ...] | None = None


class MetadataEncoder(nn.Module):
    """The encoder of a model as a module of its own; it shares the model's weights."""

    main_input_name = "input_ids"

    def __init__(self, model: OptFormerForStudies):
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MetadataOutput:
        """Read the metadata of studies.

        Args:
            input_ids: Metadata ids, padded at the right, int64, (B, L).
            attention_mask: Which ids are real, (B, L); padding is also known by its id.
            output_attentions: Has no effect; `generate` passes it.
            output_hidden_states: Has no effect.
            return_dict: Has no effect.

        Raises:
            TokenizationError: A row is not the metadata of a study.
        """
        del output_attentions, output_hidden_states, return_dict
        real = input_ids != _PAD
        if attention_mask is not None:
            real &= attention_mask.bool()
        rows = [row[kept].tolist() for row, kept in zip(input_ids, real, strict=True)]
        groups = read_metadata(self.model.core, rows, self.model.vocabulary)
        study = torch.arange(len(rows), device=input_ids.device)
        return MetadataOutput(study=study, groups=tuple(groups))


@dataclass(frozen=True)
class HistoryCache:
    """What `generate` keeps from step to step: the encoded history of every study.

    Attributes:
        histories: One for each group of studies, in the order of `MetadataOutput.groups`.
    """

    histories: tuple[EncodedTrials, ...]

    is_compileable = False  # asked by `generate`
    is_croppable = False

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Nothing to reorder: all beams of a study share its history."""


class _Layers(nn.ModuleList):
    """The metadata encoder's layers; `generate` asks an attribute named `encoder` for this."""

    main_input_name = "input_ids"


class OptFormerForStudies(PreTrainedModel, GenerationMixin):
    """`OptFormerModel` as a sequence-to-sequence language model over studies.

    Attributes:
        sizes: The architecture.
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

    def __init__(self, config: OptFormerConfig):
        super().__init__(config)
        self.sizes = ModelConfig.from_dict(config.architecture)
        if config.vocabulary_hash != self.vocabulary.hash:
            raise CheckpointError(
                f"the weights were trained with vocabulary {config.vocabulary_hash!r}, this "
                f"release has {self.vocabulary.hash!r}; use load_checkpoint of "
                "optformer.model.checkpoint"
            )
        self.run: dict[str, Any] = {}
        core = OptFormerModel(self.sizes)
        for name, module in core.named_children():
            self.add_module(name, module)
        for name, parameter in core.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.encoder = _Layers(core.encoder)
        self.post_init()  # type: ignore[no-untyped-call]
        self.generation_config = _generation_config()

    @property
    def vocabulary(self) -> Vocabulary:
        """What the ids mean."""
        return default_vocabulary()

    @property
    def core(self) -> OptFormerModel:
        """The plain model: a view, made anew each time, on the very same parameters and modules."""
        view = OptFormerModel.__new__(OptFormerModel)
        # Sharing the dictionaries, not copies of them: loading replaces parameters in place.
        view.__dict__.update(self.__dict__)
        view.__dict__["config"] = self.sizes
        return view

    def _init_weights(self, module: nn.Module) -> None:
        """Compute what no file holds; weights were drawn by `OptFormerModel` or are loaded."""
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
            arguments: As in transformers.
            settings: As in transformers.

        Returns:
            The model; with `output_loading_info=True`, also what transformers says of the loading.

        Raises:
            CheckpointError: The weights are not those of the architecture, or the format or
                vocabulary is not the one of this release.
        """
        wants_info = settings.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *arguments, output_loading_info=True, **settings
        )
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
            model.run = json.loads(record.read_text(encoding="utf-8"))
        return (model, info) if wants_info else model

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **settings: Any
    ) -> None:
        """Write a whole checkpoint, which `load_checkpoint` and `create_study` read as well.

        Args:
            save_directory: Where it goes.
            settings: As in transformers.
        """
        super().save_pretrained(save_directory, **settings)
        if not settings.get("is_main_process", True):
            return
        record = {**self.run, "saved_by": f"transformers {transformers.__version__}"}
        folder = Path(save_directory)
        (folder / RUN).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        self.vocabulary.save(folder)

    def get_encoder(self, modality: str | None = None) -> MetadataEncoder:
        """The encoder of metadata; `modality` is asked by transformers and has no effect."""
        del modality
        return MetadataEncoder(self)

    def get_input_embeddings(self) -> nn.Module:
        """Embedding of the metadata's tokens."""
        return self.get_submodule("words")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        values: Tensor | None = None,
        labels: Tensor | None = None,
        prefix: int | None = 0,
        encoder_outputs: MetadataOutput | None = None,
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
                None. Their own logits are of no use then and carry no loss. 0 is causal.
            encoder_outputs: What `get_encoder()` gave, instead of `input_ids`.
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
        if decoder_input_ids is None:
            if labels is None:
                raise TokenizationError("expected trials as decoder_input_ids or labels, got none")
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        count = decoder_input_ids.shape[1]
        positions = range(count - logits_to_keep if logits_to_keep else 0, count)
        shape = (len(decoder_input_ids), len(positions))
        logits = self.get_parameter("star").new_empty(
            (*shape, self.vocabulary.size), dtype=torch.float32
        )
        weights = logits.new_zeros(shape)
        histories = []
        for number, (studies, spaces) in enumerate(encoder_outputs.groups or ()):
            rows, space = _members(encoder_outputs.study, studies)
            ids = decoder_input_ids[rows]
            exact = None if values is None else values[rows]
            trials = read_trials(spaces, space, ids, exact)
            past = past_key_values.histories[number] if past_key_values else None
            if past is not None and past.cache.length == trials.metric.shape[1] - 1:
                encoded = past
            elif past is not None:  # trials that were generated since are causal
                encoded = encode_trials(self.core, spaces, trials, past.prefix)
            elif use_cache and len(rows) > len(studies):  # copies made by `generate`
                first = torch.arange(0, len(rows), len(rows) // len(studies), device=rows.device)
                exact = None if exact is None else exact[first]
                originals = read_trials(spaces, space[first], ids[first], exact)
                encoded = encode_trials(self.core, spaces, originals, prefix)
            else:
                encoded = encode_trials(self.core, spaces, trials, prefix)
            histories.append(encoded if past is None else past)
            logits[rows], weight = next_token_logits(self.core, spaces, trials, encoded, positions)
            trial = torch.tensor(positions, device=rows.device) // (spaces.parameters + 3)
            weights[rows] = weight * (trial >= encoded.prefix)
        kept: Any = HistoryCache(tuple(histories)) if use_cache else None
        output = Seq2SeqLMOutput(
            loss=None
            if labels is None
            else next_token_loss(logits, weights, labels[:, positions.start :]),
            logits=logits,
            **{_CACHE: kept},
        )
        return output.to_tuple() if return_dict is False else output

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The decoder's ids for labels without holes: the start symbol, then all but the last."""
        start = torch.full_like(labels[:, :1], _START)
        return torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, _PAD)], 1)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        encoder_outputs: MetadataOutput | None = None,
        values: Tensor | None = None,
        prefix: int | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What `generate` gives to `forward`: all ids, the history encoded once.

        Args:
            input_ids: The decoder's ids so far, (B, N).
            encoder_outputs: The encoder's reading of the metadata.
            values: Exact values of the trials that were given, (B, at most N).
            prefix: How many of the given trials see each other both ways; all when None.
            use_cache: Whether to keep the encoded histories.
            kwargs: Whatever else transformers keeps: after the first step, the encoded histories.
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
    AutoModelForSeq2SeqLM.register(OptFormerConfig, OptFormerForStudies, exist_ok=True)
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


def _members(study: Tensor | None, studies: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows that belong to some studies, in their order, and the place of each one's study."""
    if study is None:
        raise TokenizationError("expected encoder_outputs as get_encoder() gives them")
    belongs = study[:, None] == torch.tensor(studies, device=study.device)  # (B, S)
    rows = belongs.any(1).nonzero()[:, 0]
    return rows, belongs[rows].long().argmax(1)


register()
