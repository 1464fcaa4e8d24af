"""The corpus behind the text pieces: documentation of machine-learning libraries and our own texts.

Docstrings and signatures are read from source files with `ast`; nothing is imported or run. Files
are visited in sorted order and repeated sentences count once, so the same installed versions give
the same corpus.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.tokenization.metadata import metadata_to_text
from optformer.tokenization.vocabulary import escape

LIBRARIES: dict[str, str] = {
    "sklearn": "scikit-learn",
    "optuna": "optuna",
    "torch": "torch",
    "transformers": "transformers",
    "scipy": "scipy",
    "numpy": "numpy",
    "pandas": "pandas",
    "accelerate": "accelerate",
    "datasets": "datasets",
}
"""Import name to distribution name of the libraries that are read."""

_SKIPPED = {"tests", "testing", "_vendor", "externals", "__pycache__", "_numpy", "deprecated"}
_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``?([^`]+)``?|[~=\-^\"'+#_]{4,}|\.\. \w+::|>>> ?")
_BLANKS = re.compile(r"\s+")
_MAX_PARAMETERS = 7  # of a generated study
_MAX_LENGTH = 2000  # characters of a sentence; longer ones are tables


@dataclass
class Corpus:
    """Training sentences and where they came from.

    Attributes:
        sentences: Texts of the language, free text escaped.
        files: Number of source files that gave at least one sentence.
        versions: Version of every library read.
    """

    sentences: list[str] = field(default_factory=list)
    files: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def characters(self) -> int:
        """Total length of the sentences."""
        return sum(map(len, self.sentences))


def build_corpus(num_studies: int = 20_000, seed: int = 0) -> Corpus:
    """Collect documentation sentences and generated metadata texts.

    Args:
        num_studies: Generated study descriptions.
        seed: Seed of the generated descriptions.

    Raises:
        ConfigError: A library of `LIBRARIES` is not installed.
    """
    corpus = Corpus()
    seen: set[str] = set()
    names: set[str] = set()
    for module, distribution in LIBRARIES.items():
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"the corpus reads {distribution}, which is not installed")
        corpus.versions[distribution] = importlib.metadata.version(distribution)
        for path in _source_files(Path(spec.submodule_search_locations[0])):
            fresh = [s for s in _file_sentences(path, names) if s not in seen]
            seen.update(fresh)
            corpus.sentences.extend(" " + escape(sentence) for sentence in dict.fromkeys(fresh))
            corpus.files += bool(fresh)
    rng = np.random.default_rng(seed)
    known = sorted(names)
    corpus.sentences.extend(
        metadata_to_text(_random_study(known, rng), algorithm=str(rng.choice(_ALGORITHMS)))
        for _ in range(num_studies)
    )
    return corpus


def _source_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        if not _SKIPPED.intersection(path.relative_to(root).parts):
            yield path


def _file_sentences(path: Path, names: set[str]) -> Iterator[str]:
    """Sentences of one file; argument names are added to `names`."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # templates and fixtures are no source
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        document = ast.get_docstring(node)
        if not document:
            continue
        for paragraph in re.split(r"\n\s*\n", document):
            text = _MARKUP.sub(lambda m: m[1] or m[2] or " ", paragraph)
            text = _BLANKS.sub(" ", text).strip()
            if 3 <= len(text) <= _MAX_LENGTH:
                yield text
        if isinstance(node, ast.FunctionDef):
            arguments = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
            arguments = [a for a in arguments if a not in ("self", "cls") and len(a) > 1]
            names.update(arguments)
            if arguments:
                yield " ".join([node.name, *arguments]).replace("_", " ").strip()


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_TUNED = _split(
    "learning_rate lr batch_size weight_decay momentum dropout num_layers n_layers hidden_size "
    "n_estimators max_depth min_samples_split min_samples_leaf max_features C gamma kernel degree "
    "alpha l1_ratio reg_lambda reg_alpha subsample colsample_bytree min_child_weight eta beta1 "
    "beta2 eps warmup_steps num_epochs optimizer activation normalization num_heads width depth "
    "resolution kernel_size stride filters embedding_dim temperature label_smoothing clip_norm "
    "lr_schedule decay_rate n_units criterion splitter tol max_iter n_neighbors p weights solver"
)
_METRICS = _split(
    "accuracy balanced_accuracy f1 roc_auc log_loss cross_entropy mse rmse mae r2 perplexity bleu "
    "error validation_loss val_loss latency precision recall reward regret"
)
_TASKS = (
    "image classification", "tabular regression", "tabular classification", "language modelling",
    "machine translation", "object detection", "reinforcement learning", "time series forecasting",
    "neural architecture search", "synthetic function", "text classification", "ranking",
)  # fmt: skip
_DATASETS = _split(
    "cifar10 cifar100 imagenet mnist adult higgs covertype wikitext squad wine iris fashion svhn "
    "digits diabetes openml coco cora enwik8 synthetic letter airlines jasmine vehicle segment"
)
_ALGORITHMS = _split(
    "random grid quasi_random hill_climbing simulated_annealing regularized_evolution tpe gp gp_ei "
    "gp_ucb cmaes hyperband optformer population_based_training controller expert local_search"
)
_MODELS = (
    "convnet", "resnet", "multilayer perceptron", "random forest", "gradient boosting",
    "support vector machine", "transformer", "logistic regression", "nearest neighbors", "ridge",
    "xgboost", "lightgbm", "catboost", "glmnet", "rpart", "ranger", "svm", "knn", "mlp", "cnn",
    "lstm", "vit", "bert", "gpt", "efficientnet", "unet", "extra trees", "decision tree", "lasso",
)  # fmt: skip
_CHOICES = _split(
    "sgd adam adamw rmsprop adagrad relu gelu tanh sigmoid swish gini entropy log_loss sqrt log2 "
    "uniform distance linear poly rbf cosine constant step batch layer none mean median mode "
    "l1 l2 elasticnet best random lbfgs saga newton auto"
)


def _random_study(names: list[str], rng: np.random.Generator) -> StudyConfig:
    pool = list(_TUNED) if rng.random() < 0.6 or len(names) < _MAX_PARAMETERS else names
    count = int(rng.integers(1, _MAX_PARAMETERS + 1))
    chosen = [pool[i] for i in rng.choice(len(pool), size=count, replace=False)]
    space = SearchSpace({name: _random_parameter(rng) for name in chosen})
    metadata = {
        "task": str(rng.choice(_TASKS)),
        "dataset": str(rng.choice(_DATASETS)),
        "model": str(rng.choice(_MODELS)),
    }
    return StudyConfig(
        space=space,
        metric=str(rng.choice(_METRICS)),
        goal="maximize" if rng.random() < 0.5 else "minimize",
        metadata={key: text for key, text in metadata.items() if rng.random() < 0.7},
    )


def _random_parameter(rng: np.random.Generator) -> Parameter:
    kind = rng.integers(5)
    if kind == 0:
        low = 10.0 ** -int(rng.integers(1, 9))
        return Float(low, float(f"{low * 10.0 ** int(rng.integers(1, 7)):.6g}"), log=True)
    if kind == 1:
        high = round(float(rng.choice([1.0, 0.5, 0.9, 0.99, 2.0, 10.0, 100.0])), 3)
        return Float(0.0, high)
    if kind == 2:
        low_int = int(rng.integers(1, 20))
        return Int(low_int, low_int + int(2 ** rng.integers(1, 11)), log=bool(rng.random() < 0.4))
    if kind == 3:
        return Ordinal(
            [int(2**i) for i in range(int(rng.integers(2, 5)), int(rng.integers(6, 11)))]
        )
    size = int(rng.integers(2, 6))
    return Categorical([str(c) for c in rng.choice(_CHOICES, size=size, replace=False)])
