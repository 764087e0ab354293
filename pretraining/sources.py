"""Where the text comes from: every source with its authors and licence, as sources.json lists them, and as the table of
the documentation and of the model card. Knows no text and no model."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_LIST = Path(__file__).with_name("sources.json")


@dataclass(frozen=True)
class Source:
    """file: the corpus file it is part of. by: whom attribution is owed. where: GitHub repositories as owner/name, some
    with the commit. licence: as stated there. kind: what sort of text it is."""

    file: str
    part: str
    by: str
    where: str
    licence: str
    kind: str


def all_sources() -> list[Source]:
    """In the list's order."""
    return [Source(**listed) for listed in json.loads(_LIST.read_text(encoding="utf-8"))]


def sources_table(sources: Iterable[Source]) -> str:
    """As Markdown, a row each."""
    head = "| file | part | by | source (GitHub, some @ commit) | licence as stated there | kind of text |"
    rows = (f"| {one.file} | {one.part} | {one.by} | {one.where} | {one.licence} | {one.kind} |" for one in sources)
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def mix_table(shares: dict[str, float]) -> str:
    """Which share of each file's documents is drawn, as Markdown."""
    return "\n".join(
        ["| file | share of its documents |", "|---|---|", *(f"| {k} | {v:g} |" for k, v in shares.items())]
    )
