"""The population prefix: where every voice on one base model starts from, trained on public text alone.

    python -m tuning.population TEXTS… --out FILE [--writers TEXTS… --rehearsals N]

It is a starting point and never somebody's voice: a run publishes only what beats it (tuning.evaluation). Owns how one
is made and found; the command prints one JSON object as its last line. Knows nothing of people, runs or storage.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.dataset import Block, Split, text_blocks
from tuning.errors import ConfigurationError, InvalidPrefix, TooLittleText, TuningError, WrongBaseModel
from tuning.memory import plan_memory
from tuning.prefix import Prefix
from tuning.prefix_encoder import training_dtype
from tuning.public_texts import Source, read_texts, read_writers
from tuning.rehearsal import (
    PublicWriter,
    RehearsalSettings,
    public_writers,
    rehearse,
    require_writers,
)
from tuning.trainer import Progress, TrainingJob, TrainingSettings, train_prefixes
from tuning.training_step import StepPlan

FILE_NAME = "population.safetensors"
NONE = "none"  # the setting that says: start from nothing shared
SETTINGS = TrainingSettings(
    warmup_steps=10, epochs=18, max_steps=400, tokens_per_step=2048, evaluate_every=25, patience=8, offset_kept=1.0
)
REHEARSAL = RehearsalSettings()
REHEARSALS = 23  # more of them fit public writers better, and people worse (docs/likeness.md)
_HELD_OUT = 64  # documents
_CHARS = 1_500  # read of one document: many short pieces of many hands, not few long ones
_CANNOT = 2
_TEXTS = (
    ".txt, .md or .jsonl, each also .xz, or folders of them; PATH:3000 keeps of each file the 3000 stretches that are "
    "most like a person's own writing"
)
_WRITERS = (
    "make the prefix one to start from: rehearse with the writers of these texts, a long document one or more; "
    "PATH:2000 keeps of each file the 2000 writers that are most like a person's own writing"
)


def load_population(config: TuningConfig, base: BaseModel) -> Prefix | None:
    """The population prefix of `base`, in the training's own precision; None where there is none.

    It is the configured file, else population.safetensors in the base model's folder. Raises ConfigurationError when it
    is missing, damaged, another base model's, or of another length than the prefixes to be trained.
    """
    path = _path(config)
    if path is None:
        return None
    try:
        prefix = _read(path, base)
    except WrongBaseModel as wrong:
        raise ConfigurationError(f"The population prefix {path} was made for another model. {_mend(path)}") from wrong
    except (OSError, InvalidPrefix) as wrong:
        raise ConfigurationError(f"The population prefix {path} can't be used: {wrong} {_mend(path)}") from wrong
    if prefix.num_virtual_tokens != config.num_virtual_tokens:
        raise ConfigurationError(
            f"The population prefix {path} has {prefix.num_virtual_tokens} virtual tokens and "
            f"IDIOLECT_NUM_VIRTUAL_TOKENS is {config.num_virtual_tokens}. Set that to {prefix.num_virtual_tokens}. "
            f"Or: {_mend(path)}"
        )
    return prefix


def train_population(
    base: BaseModel, texts: Sequence[str], settings: TrainingSettings, seed: int = 0, plan: StepPlan | None = None
) -> Prefix:
    """Train on `texts`, one block of each, stopping early on the last of them. Raises TooLittleText."""
    train, held_out = population_blocks(base, texts, settings.num_virtual_tokens)
    job = TrainingJob(Split(train=train, stop=held_out, test=held_out, num_samples=len(texts)), seed=seed)
    (result,) = train_prefixes(base, [job], settings, plan=plan, on_progress=lambda _, progress: _tell(progress))
    assert result is not None
    return result.prefix


def population_blocks(
    base: BaseModel, texts: Sequence[str], num_virtual_tokens: int
) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    """The first block of each text: of all but the last ones for training, of those for early stopping. Raises
    TooLittleText."""
    blocks = [
        block for text in texts for block in text_blocks(base, text[:_CHARS], num_virtual_tokens=num_virtual_tokens)[:1]
    ]
    if len(blocks) <= 2 * _HELD_OUT:
        raise TooLittleText(f"{len(blocks)} documents are too few; a population needs more than {2 * _HELD_OUT}.")
    return tuple(blocks[:-_HELD_OUT]), tuple(blocks[-_HELD_OUT:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the population prefix of the configured base model. Exit code 2 with one line where that can't be."""
    options = _options(arguments)
    try:
        if not options.out.parent.is_dir():
            raise ConfigurationError(f"The folder {options.out.parent} of --out does not exist; make it first.")
        config = TuningConfig.from_env()
        base = load_base_model(config)
        texts, writers = read_texts(options.texts, options.seed), _writers(base, config, options)
        rehearsed = replace(REHEARSAL.training, num_virtual_tokens=config.num_virtual_tokens)
        plan = plan_memory(base, rehearsed, replace(config, runs_together=REHEARSAL.writers))
        settings = replace(SETTINGS, num_virtual_tokens=config.num_virtual_tokens, max_steps=options.steps)
        prefix = train_population(base, texts, settings, options.seed, plan.step)
        if writers:
            together = min(REHEARSAL.writers, plan.runs_together)
            if together < REHEARSAL.writers:
                print(
                    f"idiolect: memory is for {together} writers at a time in place of {REHEARSAL.writers}, which "
                    "makes another prefix; raise IDIOLECT_TRAINING_MEMORY_MB for the measured one",
                    file=sys.stderr,
                )
            rehearsal = replace(REHEARSAL, writers=together, training=rehearsed)
            prefix = rehearse(
                base,
                prefix,
                writers,
                options.rehearsals,
                rehearsal,
                plan=plan.step,
                seed=options.seed,
                on_look=_tell_rehearsal,
            )
        data = prefix.to_bytes()
        options.out.write_bytes(data)
    except (TuningError, OSError) as wrong:
        print(f"idiolect: {wrong}", file=sys.stderr)
        return _CANNOT
    facts = {
        "texts": len(texts),
        "writers": len(writers),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    print(json.dumps(facts | {"base_fingerprint": base.fingerprint, "out": str(options.out)}))
    return 0


def _writers(base: BaseModel, config: TuningConfig, options: argparse.Namespace) -> list[PublicWriter]:
    if not options.writers:
        return []
    writers = public_writers(base, read_writers(options.writers, options.seed), config.num_virtual_tokens)
    require_writers(writers, REHEARSAL)  # before the work
    return writers


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Source.of, nargs="+", metavar="TEXTS", help=_TEXTS)
    parser.add_argument("--out", type=Path, required=True, help=f"best {FILE_NAME} in the base model's folder")
    parser.add_argument("--steps", type=int, default=SETTINGS.max_steps, help="optimizer steps at most")
    parser.add_argument("--writers", type=Source.of, nargs="+", default=[], metavar="TEXTS", help=_WRITERS)
    parser.add_argument(
        "--rehearsals",
        type=int,
        help=f"with --writers: trainings of a few of them, {REHEARSALS} by default; minutes on a GPU, hours without",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.rehearsals is not None and not options.writers:
        parser.error("--rehearsals needs --writers to rehearse with")
    if options.rehearsals is not None and options.rehearsals < 1:
        parser.error("--rehearsals must be 1 or more; without --writers there are none")
    options.rehearsals = options.rehearsals or REHEARSALS
    return options


def _read(path: Path, base: BaseModel) -> Prefix:
    return base.read_prefix(path.read_bytes(), training_dtype(base))


def _path(config: TuningConfig) -> Path | None:
    if config.population_prefix == NONE:
        return None
    if config.population_prefix:
        return Path(config.population_prefix)
    beside = Path(config.base_model) / FILE_NAME
    return beside if beside.is_file() else None


def _mend(path: Path) -> str:
    return (
        f"Make it again for this model with `python -m tuning.population TEXTS --out {path}`, name another one in "
        f"IDIOLECT_POPULATION_PREFIX, or set that to {NONE}."
    )


def _tell_rehearsal(rehearsal: int, gain: float) -> None:
    print(f"rehearsal {rehearsal}: public writers come {gain:.2f} % closer", file=sys.stderr, flush=True)


def _tell(progress: Progress) -> None:
    if progress.held_out_loss is not None:
        print(
            f"step {progress.step} of at most {progress.max_steps}: held-out {progress.held_out_loss:.4f} "
            f"bits/char (base model {progress.base_held_out_loss:.4f}), {progress.seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
