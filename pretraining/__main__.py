"""`python -m pretraining COMMAND`: the bundled base model made again, from a corpus to a folder with its card. Owns the
command line; docs/base_model.md shows the commands in order. The last line of each is one JSON object, except of `card`
and `sources`, which print Markdown."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretraining.answers import write_answers
from pretraining.candidate import Candidate
from pretraining.card import Card
from pretraining.comparison import compare_bits, compare_speed, described
from pretraining.corpus import documents_in
from pretraining.errors import PretrainingError
from pretraining.export import export
from pretraining.first_stage import FirstStage
from pretraining.mix import SHARES, write_mix
from pretraining.schedule import Schedule
from pretraining.second_stage import SecondStage
from pretraining.shape import SHAPES, Shape
from pretraining.sources import all_sources, mix_table, sources_table
from pretraining.specimens import markdown
from pretraining.stopping import Stop
from pretraining.text_bits import LAST_TEXTS, last_texts
from pretraining.tokenizer import fit_tokenizer, load_tokenizer
from pretraining.tokens import write_tokens

_CANNOT = 2
_LEAST_ROWS = 2  # of a second stage's step: one of plain text and one of answers
Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 2 with one line where that can't be."""
    options = _parser().parse_args(arguments)
    try:
        said = options.run(options)
    except (PretrainingError, OSError) as wrong:
        print(f"pretraining: {wrong}", file=sys.stderr)
        return _CANNOT
    print(said if isinstance(said, str) else json.dumps(said))
    return 0


def _mix(options: Options) -> dict[str, Any]:
    return write_mix(options.corpus, options.out, {**SHARES, **dict(options.share)})


def _tokenizer(options: Options) -> dict[str, Any]:
    tokenizer = fit_tokenizer(documents_in(options.corpus))
    tokenizer.save(str(options.out))
    return {"vocabulary": tokenizer.get_vocab_size(), "out": str(options.out)}


def _prepare(options: Options) -> dict[str, int]:
    return write_tokens(documents_in(options.corpus), load_tokenizer(options.tokenizer), options.tokens)


def _train(options: Options) -> dict[str, Any]:
    schedule = Schedule(options.budget, options.decay)
    shape = _trained_shape(options)
    stage = FirstStage(
        shape, options.tokens, options.checkpoint, schedule, options.init, options.personal_share, not options.eager
    )
    with Stop(options.minutes) as stop:
        return stage.run(stop)


def _requests(options: Options) -> dict[str, Any]:
    documents, tokenizer = documents_in(options.corpus), load_tokenizer(options.tokenizer)
    length = SHAPES[options.shape].length
    return write_answers(documents, tokenizer, options.out, length, options.most, options.per_document, options.seed)


def _instruct(options: Options) -> dict[str, Any]:
    stage = SecondStage(
        shape=_trained_shape(options),
        first=options.first,
        tokens=options.tokens,
        answers=options.requests,
        checkpoint=options.checkpoint,
        schedule=Schedule(options.budget, decay=1.0, peak=options.peak),
        plain_share=options.plain_share,
        compiled=not options.eager,
    )
    with Stop(options.minutes) as stop:
        return stage.run(stop)


def _export(options: Options) -> dict[str, Any]:
    return export(options.checkpoint, load_tokenizer(options.tokenizer), SHAPES[options.shape], options.out)


def _compare(options: Options) -> dict[str, Any]:
    texts = last_texts(options.authors, options.texts, options.most_authors)
    candidates = [Candidate.load(folder) for folder in (options.first, options.second)]
    for block in markdown(candidates, options.tokens):
        print(block, end="\n\n", flush=True)
    return (
        described(candidates)
        | compare_bits(candidates, texts)
        | compare_speed(candidates, options.tokens, options.rounds)
    )


def _card(options: Options) -> str:
    more = options.more.read_text(encoding="utf-8") if options.more else ""
    return Card(options.model, options.name, options.licence, options.evaluation, more).render().rstrip("\n")


def _sources(_options: Options) -> str:
    return f"{mix_table(dict(SHARES))}\n\n{sources_table(all_sources())}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pretraining", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    made = _Commands(commands)
    mix = made("mix", _mix, "draw each source's share of the corpus", "corpus", "out")
    mix.add_argument("--share", type=_share, action="append", default=[], metavar="SOURCE=SHARE")
    made("tokenizer", _tokenizer, "fit the tokenizer on the corpus", "corpus", "out")
    made("prepare", _prepare, "turn the corpus into tokens", "corpus", "tokenizer", "tokens")
    train = made("train", _train, "first stage, from nothing on plain text", "tokens", "checkpoint")
    _training(train, budget=60e6)
    train.add_argument("--decay", type=float, default=0.3, help="share of the budget over which the rate falls")
    train.add_argument(
        "--personal-share",
        type=float,
        default=0.75,
        help="of the text while the rate falls, that of people's own writing",
    )
    train.add_argument("--init", type=Path, help="a checkpoint or model to go on from, without its optimizers' state")
    requests = made("requests", _requests, "derive requests from the corpus", "corpus", "tokenizer", "out")
    _shape(requests)
    requests.add_argument("--most", type=int, default=40_000, help="conversations")
    requests.add_argument("--per-document", type=int, default=4)
    requests.add_argument("--seed", type=int, default=0)
    instruct = made("instruct", _instruct, "second stage: answer requests", "first", "tokens", "requests", "checkpoint")
    _training(instruct, budget=4e6)
    instruct.add_argument("--peak", type=float, default=0.1, help="of the first stage's highest rates")
    instruct.add_argument("--plain-share", type=float, default=0.4, help="of the rows, those of plain text")
    _shape(made("export", _export, "write a folder that loads by itself", "checkpoint", "tokenizer", "out"))
    _comparing(made("compare", _compare, "two models side by side", "first", "second", "authors"))
    card = made("card", _card, "print an exported model's card", "model")
    card.add_argument("--name", required=True)
    card.add_argument("--licence", required=True, help="as the Hugging Face hub calls it")
    card.add_argument("--evaluation", action="append", default=[], help="a sentence with a measured figure; repeatable")
    card.add_argument("--more", type=Path, help="a Markdown file with further sections")
    made("sources", _sources, "print the tables of the mix and of the sources")
    return parser


class _Commands:
    """Adds a command whose named arguments are required paths."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def __call__(self, name: str, run: Callable[[Options], Any], says: str, *paths: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = self._commands.add_parser(name, help=says, description=says)
        for path in paths:
            made.add_argument(f"--{path}", type=Path, required=True)
        made.set_defaults(run=run)
        return made


def _shape(command: argparse.ArgumentParser) -> None:
    command.add_argument("--shape", choices=SHAPES, default="cpu")


def _trained_shape(options: Options) -> Shape:
    shape = SHAPES[options.shape]
    return shape if options.rows is None else replace(shape, rows=options.rows)


def _training(command: argparse.ArgumentParser, budget: float) -> None:
    _shape(command)
    command.add_argument("--rows", type=_rows, help="sequences per step, at least 2, in place of the shape's")
    command.add_argument("--budget", type=float, default=budget, help="tokens in the whole schedule")
    command.add_argument("--minutes", type=float, default=math.inf, help="stop this piece after so long")
    command.add_argument("--eager", action="store_true", help="do not compile the step")


def _comparing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--texts", type=int, default=LAST_TEXTS, help="the last ones of each author")
    command.add_argument("--most-authors", type=int, help="the first ones of the file; all of them by default")
    command.add_argument("--tokens", type=int, default=96, help="new tokens of a specimen and of a timed row")
    command.add_argument("--rounds", type=int, default=5, help="of timing")


def _rows(written: str) -> int:
    rows = int(written)
    if rows < _LEAST_ROWS:
        raise argparse.ArgumentTypeError(f"at least {_LEAST_ROWS}, not {rows}")
    return rows


def _share(written: str) -> tuple[str, float]:
    source, _, share = written.partition("=")
    return source, float(share)


if __name__ == "__main__":
    sys.exit(main())
