"""Plan studies of methods on objectives, run those that are missing, and describe what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from optformer.data.corpora.generation import shards
from optformer.data.corpora.generation.sources import (
    licence,
    load_objective,
    select_objectives,
    suite_of,
)
from optformer.data.corpora.generation.studies import StudyKey, run_study
from optformer.data.methods import METHODS, create
from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ConfigError

_PACKAGES = ("optformer", "scikit-learn", "numpy", "scipy", "torch", "optuna", "cmaes")


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """What to generate.

    Attributes:
        methods: Names of search methods.
        objectives: Names of objectives, or patterns of the shell's kind.
        out: Folder of the histories; studies that it holds already are not repeated.
        trials: Trials a study, at least 1.
        seeds: Studies a method and objective, with the seeds 0 to `seeds` - 1.
        workers: Processes, at least 1; they do not change what comes out.
        generated: Generated data sets of each kind that patterns are matched against.
        allow_reserved: Take objectives that nothing may be trained on, too.

    Raises:
        ConfigError: A number is below 1, or a method is unknown, given twice or missing.
    """

    methods: Sequence[str]
    objectives: Sequence[str]
    out: Path
    trials: int = 50
    seeds: int = 1
    workers: int = 1
    generated: int = 0
    allow_reserved: bool = False

    def __post_init__(self) -> None:
        for field in ("trials", "seeds", "workers"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} must be at least 1, got {getattr(self, field)}")
        if self.generated < 0:
            raise ConfigError(f"generated must be at least 0, got {self.generated}")
        if not self.objectives:
            raise ConfigError("objectives must name at least one, got none")
        METHODS.check(self.methods)
        object.__setattr__(self, "methods", [METHODS.current(name) for name in self.methods])


@dataclass(frozen=True)
class GenerationSummary:
    """What was done.

    Attributes:
        finished: Studies that were written now.
        skipped: Studies that were there already.
        failed: Study to reason, for those that were not written.
        left_out: Reserved objectives that a pattern matched and that were not run.
    """

    finished: int
    skipped: int
    failed: Mapping[str, str]
    left_out: Sequence[str]


def generate(config: GenerationConfig, *, progress: bool = False) -> GenerationSummary:
    """Generate the studies that the folder does not hold yet.

    A study is written by its worker when it ends. One whose worker dies is tried once more; one
    that fails then, or raises, is reported and missing from the folder, and a later call tries it
    again.

    Args:
        config: What to generate.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: An objective is unknown or reserved, a method cannot search a space, or the
            folder was written with other settings or packages; nothing was run.
        DatasetError: A file in the folder is damaged; nothing was run.
        MissingExtraError: A method needs a package that is not installed; nothing was run.
    """
    objectives, left_out = select_objectives(
        config.objectives, generated=config.generated, allow_reserved=config.allow_reserved
    )
    _check_spaces(config.methods, objectives)
    versions = _versions()
    _check_folder(config, versions)
    _describe(config, versions)
    keys = [
        StudyKey(objective, method, seed)
        for objective in objectives
        for method in config.methods
        for seed in range(config.seeds)
    ]
    jobs = [key for key in keys if not shards.shard_path(config.out, key).exists()]
    failed: dict[str, str] = {}
    with WorkerPool(config.workers, attempts=2) as pool:
        running = {pool.submit(_run_study, config.out, config.trials, key): key for key in jobs}
        done = as_completed(running)
        for future in tqdm(done, total=len(jobs), unit="study", disable=not progress):
            error = future.exception()
            if error is not None:
                failed[running[future].name] = f"{type(error).__name__}: {error}"
    _describe(config, versions)
    return GenerationSummary(len(jobs) - len(failed), len(keys) - len(jobs), failed, left_out)


def _run_study(out: Path, trials: int, key: StudyKey) -> None:
    config = load_objective(key.objective).config
    shards.write_shard(out, key, config, run_study(key, trials))


def _check_spaces(methods: Sequence[str], objectives: Sequence[str]) -> None:
    """Make every method for every space once: one that cannot search a space says so."""
    refused = []
    for objective in objectives:
        config = load_objective(objective).config
        for method in methods:
            try:
                create(method, config)
            except ConfigError as error:
                refused.append(f"{method} on {objective}: {error}")
    if refused:
        raise ConfigError("these methods cannot search these spaces: " + "; ".join(refused))


def _check_folder(config: GenerationConfig, versions: Mapping[str, str]) -> None:
    """Histories of one folder have one length and come from one set of packages."""
    manifest = shards.read_manifest(config.out)
    if manifest is None:
        if shards.find_shards(config.out):
            raise ConfigError(
                f"{config.out} holds studies without a manifest; move {config.out}/studies away, "
                "or choose another folder"
            )
        return
    for what, ours in (("trials", config.trials), ("versions", dict(versions))):
        if manifest.get(what) != ours:
            raise ConfigError(
                f"{config.out} was generated with {what} {manifest.get(what)}, now it is {ours}; "
                "choose another folder"
            )


def _describe(config: GenerationConfig, versions: Mapping[str, str]) -> None:
    """Write the manifest of all that the folder holds."""
    counts: Counter[str] = Counter()
    found = shards.find_shards(config.out)
    for path in found:
        counts.update(shards.check_shard(path))
    objectives = sorted({path.parts[-3] for path in found})
    manifest: dict[str, Any] = {
        "trials": config.trials,
        "counts": {"studies": len(found), "trials": counts.total(), **dict(sorted(counts.items()))},
        "seeds": sorted({int(path.stem.removeprefix("seed-")) for path in found}),
        "methods": sorted({path.parts[-2] for path in found}),
        "objectives": {name: suite_of(name) for name in objectives},
        "licences": sorted({licence(name) for name in objectives}),
        "versions": dict(versions),
    }
    shards.write_manifest(config.out, manifest)


def _versions() -> dict[str, str]:
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # an extra that is not there
            continue
    return installed
