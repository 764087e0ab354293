"""The parts of the comparison that need no peer: splits, statistics, resumption, and our own side of it, whole."""

import json
from pathlib import Path

import pytest

from benchmarks.authors import TEST_TEXTS, author_options, between, read_authors
from benchmarks.journal import Journal
from benchmarks.statistics import interval, median, wins
from tests.tiny_model import make_tiny


def write_authors(path: Path, counts: dict[str, int]) -> Path:
    rows = [
        {"author": author, "text": f"{author} says number {number}, and then some more of the same."}
        for author, count in counts.items()
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_authors_with_too_few_texts_are_passed_over_and_file_order_counts(tmp_path: Path) -> None:
    path = write_authors(tmp_path / "authors.jsonl", {"ann": 60, "bob": 51, "cyn": 52, "dan": 55})
    assert [author.name for author in read_authors(path, 2)] == ["ann", "cyn"]
    assert [author.name for author in read_authors(path, 2, skip=1)] == ["cyn", "dan"]
    with pytest.raises(SystemExit, match=r"has 3 authors.* --limit 4"):
        read_authors(path, 4)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, "can't be read: .*No such file"),
        ("\xff", "can't be read"),
        ('{"author": "ann", "text": "One."}\n\nnot JSON\n', "line 3: each line must be an object"),
        ('{"text": "One."}\n', "line 1: each line must be an object"),
        ("[1]\n", "line 1: each line must be an object"),
    ],
)
def test_what_is_no_file_of_authors_ends_a_benchmark_with_one_line(
    tmp_path: Path, given: str | None, sentence: str
) -> None:
    path = tmp_path / "authors.jsonl"
    if given is not None:
        path.write_text(given, encoding="latin-1")
    with pytest.raises(SystemExit, match=sentence):
        read_authors(path, 1)


def test_a_number_that_measures_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = author_options(None, limit=12)
    parser.add_argument("--samples", type=between(1, 40))
    assert parser.parse_args(["--authors", "a", "--limit", "1", "--samples", "40"]).samples == 40
    for wrong in (["--limit", "0"], ["--skip", "-1"], ["--samples", "41"], ["--samples", "0"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["--authors", "a", *wrong])
        assert "is not at least" in capsys.readouterr().err


def test_the_test_set_is_the_same_at_every_number_of_samples_and_never_trained_on(tmp_path: Path) -> None:
    base = make_tiny()
    (author,) = read_authors(write_authors(tmp_path / "authors.jsonl", {"ann": 60}), 1)
    splits = [author.split(base, number, 4) for number in (5, 20, 40)]
    assert splits[0].test == splits[1].test == splits[2].test
    assert len(splits[0].test) == TEST_TEXTS
    for split in splits:
        assert not {block.token_ids for block in split.test} & {
            block.token_ids for block in (*split.train, *split.stop)
        }
        assert not {block.token_ids for block in split.stop} & {block.token_ids for block in split.train}
    assert len(splits[1].train) + len(splits[1].stop) == 20


def test_a_result_is_measured_once_and_another_configuration_again(tmp_path: Path) -> None:
    measured = []

    def measure() -> dict[str, int]:
        measured.append(1)
        return {"n": len(measured)}

    for _ in range(2):
        journal = Journal(tmp_path / "state" / "journal.jsonl")
        assert journal.once({"seed": 0}, measure) == {"n": 1}
    assert Journal(tmp_path / "state" / "journal.jsonl").once({"seed": 1}, measure) == {"n": 2}


def test_medians_intervals_and_wins() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert low <= 3.0 <= high
    assert wins([1.0, 2.0, 3.0], [0.0, 2.0, 4.0]) == 1
