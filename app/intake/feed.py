"""The posts in a feed file (RSS, Atom, or an export of WordPress). Nothing is fetched. Knows no table."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import Any

import feedparser

from app.intake import markup
from app.intake.errors import Unreadable
from app.intake.findings import Finding, Noted, Piece
from app.intake.own_words import parts_of
from storage.text_intake import MAX_SAMPLES

NOT_A_FEED = "There is no post in this file. Save your blog's feed (RSS or Atom) or its export, and add that file."
_POSTS = ("post", "page")


def read_feed(source: str, data: bytes) -> Iterator[Finding]:
    """The newest published posts, oldest first. Where several people write, those of whoever writes most are taken to
    be the person's, and the others are marked with their author. Raises Unreadable."""
    # A stream: of bytes that are the name of a file or an address, feedparser would open or fetch what they name.
    found = feedparser.parse(BytesIO(data), sanitize_html=False, resolve_relative_uris=False)
    posts = [entry for entry in found.entries if _is_published(entry)]
    authors = Counter(filter(None, (entry.get("author") for entry in posts)))
    mine = authors.most_common(1)[0][0] if authors else None
    posts.sort(key=lambda entry: _day(entry) or "")
    pieces = [piece for entry in posts[-MAX_SAMPLES:] if (piece := _piece(source, entry, mine)) is not None]
    if not pieces:
        raise Unreadable(NOT_A_FEED)
    yield from pieces
    if len(posts) > MAX_SAMPLES:
        yield Noted(source, f"{len(posts) - MAX_SAMPLES:,} older posts were left out: a voice can hold {MAX_SAMPLES}.")


def _is_published(entry: Any) -> bool:
    return entry.get("wp_post_type", "post") in _POSTS and entry.get("wp_status", "publish") == "publish"


def _piece(source: str, entry: Any, mine: str | None) -> Piece | None:
    contents = [content.value for content in entry.get("content", ()) if content.get("value")]
    parts = parts_of(markup.text_of(max([*contents, entry.get("summary", "")], key=len)), mail=False)
    if not any(part.kind == "" for part in parts):
        return None
    author = entry.get("author")
    title = " ".join(markup.text_of(entry.get("title", "")).split())
    return Piece(
        source,
        parts,
        title=title or None,
        written_on=_day(entry),
        sender=author if author and author != mine else None,
    )


def _day(entry: Any) -> str | None:
    given = entry.get("published_parsed") or entry.get("updated_parsed")
    try:
        return date(*given[:3]).isoformat() if given else None
    except ValueError:
        return None
