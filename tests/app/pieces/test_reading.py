import json
from pathlib import Path

import pytest

from app.pieces.errors import UnusableWriting
from app.pieces.reading import BUNDLED, Piece, read_pieces


def _jsonl(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_folder_gives_its_texts_in_order_of_name(tmp_path: Path) -> None:
    for name, text in (("b.md", "second"), ("a.txt", "\ufefffirst"), ("c.TXT", "third"), ("notes.pdf", "no")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_pieces(tmp_path) == [Piece("first", "a"), Piece("second", "b"), Piece("third", "c")]


def test_a_jsonl_line_gives_text_title_prompt_and_day(tmp_path: Path) -> None:
    fields = {"text": "T", "title": "N", "prompt": "P", "author": "ana", "date": "2026-05-14T10:00:00"}
    assert read_pieces(_jsonl(tmp_path, fields, "")) == [
        Piece("T", "N", "P", "2026-05-14", "ana", "2026-05-14T10:00:00")
    ]


def test_a_date_that_is_not_iso_counts_as_none(tmp_path: Path) -> None:
    (piece,) = read_pieces(_jsonl(tmp_path, {"text": "T", "date": "14,May,2026"}))
    assert (piece.written_on, piece.given_date) == (None, "14,May,2026")


def test_one_author_is_chosen_by_name(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, *({"text": str(n), "author": "ana" if n % 2 else "ben"} for n in range(5)))
    assert [piece.text for piece in read_pieces(path, "ana")] == ["1", "3"]


@pytest.mark.parametrize(
    ("lines", "author", "sentence"),
    [
        ([{"text": "a"}, "{bad"], None, r"line 2: this is not JSON"),
        ([{"text": "a"}, {"body": "b"}], None, r'line 2: each line must be an object with a "text"'),
        (["[1]"], None, r'line 1: each line must be an object with a "text"'),
        ([{"text": "a", "date": 2004}], None, r'line 1: "date" must be a text'),
        ([{"text": "a", "title": 4}], None, r'line 1: "title" must be a text'),
        ([{"text": "a", "author": "ana"}, {"text": "b", "author": "ben"}], None, "2 authors; choose one .*: ana, ben"),
        ([{"text": "a", "author": "ana"}], "zoe", "no line of .* is by that author; it has ana"),
        ([{"text": "a"}], "zoe", "none of its lines names an author"),
        (["", " "], None, "there is nothing in this file"),
    ],
)
def test_an_unusable_jsonl_says_what_is_wrong_and_where(
    tmp_path: Path, lines: list[object], author: str | None, sentence: str
) -> None:
    with pytest.raises(UnusableWriting, match=sentence):
        read_pieces(_jsonl(tmp_path, *lines), author)


def test_many_authors_are_listed_only_in_part(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, *({"text": "t", "author": f"author {n}"} for n in range(30)))
    with pytest.raises(UnusableWriting, match=r"30 authors.*author 7, and 22 more$"):
        read_pieces(path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "texts.docx", "latin.txt"])
def test_an_unusable_path_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts.docx").write_bytes(b"PK")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(UnusableWriting, match=name) as refused:
        read_pieces(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_an_author_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("text")
    with pytest.raises(UnusableWriting, match=r"AUTHOR=ana goes with a \.jsonl file"):
        read_pieces(tmp_path, "ana")


def test_the_bundled_pieces_are_a_few_short_ones() -> None:
    pieces = read_pieces(BUNDLED)
    assert 8 <= len(pieces) <= 10
    assert all(150 < len(piece.text.split()) < 300 for piece in pieces)
