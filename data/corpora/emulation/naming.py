"""What people call a parameter: other words for the same thing, in other ways of writing.

A model that reads names must not depend on the one that a table happens to use. So a parameter is
told by a word of its group, written as in Python, in a shell, in Java or in a configuration file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

PREFIXED = 0.15  # share of spaces whose names tell what they belong to, such as `model.`
RESTYLED = 0.6  # share of spaces that are not written in lower case with underscores
REPLACED = 0.6  # share of the names with a group that are told by another word of it

_PREFIXES = ("model", "train", "training", "optimizer", "params", "config", "hp", "args", "trainer")
# Names are compared without case, points, dashes and spaces. A word of two groups is of neither,
# unless it is the first of one.
GROUPS: tuple[tuple[str, ...], ...] = (
    (
        "learning_rate",
        "lr",
        "eta",
        "eta0",
        "learning_rate_init",
        "initial_learning_rate",
        "base_lr",
        "lr0",
        "init_lr",
        "peak_lr",
        "step_size",
        "shrinkage",
    ),
    ("batch_size", "batch", "bs", "minibatch_size", "train_batch_size", "per_device_batch_size"),
    ("weight_decay", "wd", "decay", "l2", "l2_penalty", "decay_weight"),
    ("momentum", "mom", "sgd_momentum", "beta", "beta1"),
    ("max_dropout", "dropout", "dropout_rate", "drop_rate", "p_drop", "dropout_prob", "drop"),
    ("num_layers", "n_layers", "layers", "depth", "hidden_layers", "num_hidden_layers", "n_blocks"),
    (
        "max_units",
        "units",
        "hidden_size",
        "hidden_units",
        "width",
        "n_hidden",
        "hidden_dim",
        "num_units",
        "layer_size",
        "dim",
    ),
    ("num_embed", "embed_dim", "embedding_size", "d_model", "emb_dim", "n_embd", "model_dim"),
    ("feed_forward_num_hidden", "ffn_dim", "d_ff", "ff_size", "intermediate_size", "mlp_dim"),
    ("attention_heads", "num_heads", "n_heads", "heads", "n_head", "nhead"),
    ("bpe_symbols", "vocab_size", "num_merges", "bpe_merges", "vocabulary_size"),
    ("label_smoothing", "label_smoothing_factor", "smoothing", "smooth_eps"),
    ("schedule", "lr_schedule", "scheduler", "lr_scheduler", "lr_scheduler_type", "lr_policy"),
    ("beta2", "adam_beta2", "b2", "beta_2"),
    ("init_scale", "init_gain", "weight_scale", "init_std", "initializer_range"),
    ("input_noise", "noise_std", "gaussian_noise", "noise_level", "noise_sigma"),
    ("ema", "ema_decay", "polyak", "weight_averaging", "model_ema_decay"),
    ("temperature", "tau", "temp", "softmax_temperature"),
    ("factors", "n_factors", "num_factors", "latent_factors", "n_latent"),
    ("reg", "l2_reg", "lambda_reg", "reg_factor", "reg_strength"),
    ("kl_weight", "beta_vae", "kld_weight", "kl_coef"),
    ("latent", "latent_dim", "z_dim", "n_latents", "latent_size"),
    ("code", "bottleneck", "bottleneck_size", "code_size", "encoding_dim"),
    ("experts", "num_experts", "n_experts", "expert_count"),
    ("lora_rank", "lora_r", "r", "adapter_rank"),
    ("entropy_coefficient", "ent_coef", "entropy_weight", "entropy_bonus", "entropy_cost"),
    ("population_size", "pop_size", "popsize", "n_individuals", "population"),
    ("mutation_rate", "mutation_prob", "p_mutation", "mutpb"),
    ("crossover_rate", "crossover_prob", "p_crossover", "cxpb"),
    ("initial_temperature", "t0", "t_start", "start_temp", "initial_temp"),
    ("final_temperature", "t_end", "t_min", "end_temp", "final_temp"),
    ("epochs", "n_epochs", "num_epochs", "max_epochs", "num_train_epochs", "passes"),
    ("warmup", "warmup_steps", "warmup_ratio", "num_warmup_steps", "warmup_fraction"),
    ("clip_norm", "max_grad_norm", "gradient_clip", "grad_clip", "gradient_clip_val"),
    ("activation", "act", "nonlinearity", "act_fn", "hidden_act"),
    ("optimizer", "opt", "optim", "solver", "algorithm", "optimizer_name"),
    ("max_depth", "maxdepth", "depth", "tree_depth", "max_tree_depth", "depth_limit"),
    ("minsplit", "min_samples_split", "min_split", "min_node_split", "min_rows_split"),
    (
        "minbucket",
        "min_samples_leaf",
        "min_leaf",
        "min_data_in_leaf",
        "min_node_size",
        "leaf_size",
        "min_child_samples",
    ),
    ("cp", "ccp_alpha", "complexity", "pruning_alpha", "min_impurity_decrease"),
    (
        "nrounds",
        "n_estimators",
        "num_boost_round",
        "num_trees",
        "iterations",
        "n_trees",
        "num_rounds",
        "trees",
        "max_iter",
    ),
    ("subsample", "bagging_fraction", "row_sample_rate", "subsample_rate", "sample_rate"),
    ("colsample_bytree", "feature_fraction", "max_features", "col_sample_rate", "rsm"),
    ("colsample_bylevel", "feature_fraction_bynode", "col_sample_rate_per_level"),
    ("min_child_weight", "min_sum_hessian_in_leaf", "min_hessian", "min_child_hessian"),
    ("booster", "boosting", "boosting_type", "boost"),
    ("rate_drop", "drop_rate", "dropout_rate", "dart_rate"),
    ("skip_drop", "skip_dropout", "skip_rate"),
    ("num.impute.selected.cpo", "imputer", "impute_strategy", "imputation", "missing_values"),
    ("n_neighbors", "k", "neighbors", "num_neighbors", "knn_k"),
    ("criterion", "split_criterion", "impurity", "splitter"),
    ("c", "regularization", "cost", "penalty_strength", "inverse_regularization"),
    ("kernel", "kernel_type", "kernel_name"),
    ("discounting", "gamma", "discount", "discount_factor"),
    ("unroll_length", "rollout_length", "n_steps", "horizon", "rollout_steps"),
    ("num_minibatches", "minibatches", "n_minibatch", "num_mini_batches"),
    ("num_update_epochs", "update_epochs", "ppo_epochs", "n_update_epochs"),
    ("block_size_x", "bx", "threads_x", "block_x", "workgroup_x", "tpb_x"),
    ("block_size_y", "by", "threads_y", "block_y", "workgroup_y", "tpb_y"),
    ("tile_size_x", "tx", "tile_x", "work_per_thread_x", "coarsening_x"),
    ("tile_size_y", "ty", "tile_y", "work_per_thread_y", "coarsening_y"),
    ("topology.workers", "num_workers", "workers", "n_workers", "worker_count"),
    ("cache", "caching", "use_cache", "cache_enabled"),
)
# Words that mean this in boosted trees only.
BOOSTING = ("nrounds", "booster", "eta", "n_estimators", "min_child_weight", "colsample_bytree")
BOOSTING_GROUPS: tuple[tuple[str, ...], ...] = (
    ("gamma", "min_split_gain", "min_split_loss", "min_gain_to_split"),
    ("lambda", "reg_lambda", "l2_regularization", "lambda_l2", "l2_leaf_reg"),
    ("alpha", "reg_alpha", "lambda_l1", "l1_regularization", "l1"),
)


def rename(names: Sequence[str], rng: np.random.Generator) -> dict[str, str]:
    """Draw what the parameters of a space are called, each by another name than the others.

    Args:
        names: Their names.
        rng: Source of randomness.

    Returns:
        Each name to what it is called.
    """
    style = _STYLES[int(rng.integers(len(_STYLES)))] if rng.random() < RESTYLED else _same
    prefix = f"{rng.choice(_PREFIXES)}." if rng.random() < PREFIXED else ""
    boosting = not {_key(name) for name in names}.isdisjoint(map(_key, BOOSTING))
    groups = {**_GROUP_OF, **_BOOSTING_GROUP_OF} if boosting else _GROUP_OF
    called: dict[str, str] = {}
    for name in names:
        options = groups.get(_key(name), ())
        word = str(rng.choice(options)) if options and rng.random() < REPLACED else name
        told = prefix + style(word)
        called[name] = told if told not in called.values() else name
    # A name that another one took stays what it is; then the other one does, too.
    return (
        called if len(set(called.values())) == len(called) else dict(zip(names, names, strict=True))
    )


def _same(name: str) -> str:
    return name


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[^A-Za-z0-9]+", name) if part]


def _dashed(name: str) -> str:
    return "-".join(_parts(name))


def _option(name: str) -> str:
    return "--" + _dashed(name)


def _camel(name: str) -> str:
    first, *others = _parts(name)
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def _spaced(name: str) -> str:
    return " ".join(_parts(name))


def _upper(name: str) -> str:
    return "_".join(_parts(name)).upper()


_STYLES = (_dashed, _option, _camel, _spaced, _upper)


def _key(name: str) -> str:
    return "".join(_parts(name)).lower()


def _by_word(groups: Sequence[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Each word to its group."""
    count = Counter(_key(word) for group in groups for word in group)
    found = {_key(word): group for group in groups for word in group if count[_key(word)] == 1}
    return {**found, **{_key(group[0]): group for group in groups}}


_BOOSTING_GROUP_OF = _by_word(BOOSTING_GROUPS)
_GROUP_OF = {
    word: group for word, group in _by_word(GROUPS).items() if word not in _BOOSTING_GROUP_OF
}
