"""What becomes of a training file, good and bad: each bad one gets a sentence that names its first bad line."""

import json

import pytest

from storage.errors import InvalidUpload
from storage.samples import MAX_SAMPLES
from storage.training_file import MAX_UPLOAD_BYTES, MOST_WRITINGS, read_training_file
from tests.factories import SAMPLE_TEXTS

ONE, TWO, THREE = SAMPLE_TEXTS[:3]
GOOD = json.dumps({"text": ONE})


def lines(*given: object) -> bytes:
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in given).encode()


def chat(*turns: tuple[str, str], **more: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content, **more} for role, content in turns]}


def read(*given: object) -> list[tuple[str, str | None]]:
    return [(found.text, found.prompt) for found in read_training_file(lines(*given))]


def test_the_three_shapes_of_a_line_are_read_in_order() -> None:
    assert read({"text": ONE}, "", {"prompt": "What now?", "completion": TWO}, chat(("assistant", THREE)), "") == [
        (ONE, None),
        (TWO, "What now?"),
        (THREE, None),
    ]


def test_each_answer_is_a_sample_whose_prompt_is_the_users_turn_before_it() -> None:
    turns = [("system", "You are Ann."), ("user", "Hello?"), ("assistant", ONE), ("assistant", TWO), ("user", "a"),
             ("developer", "Be brief."), ("user", "And then?"), ("assistant", THREE)]  # fmt: skip
    assert read(chat(*turns)) == [(ONE, "Hello?"), (TWO, None), (THREE, "And then?")]


def test_an_answer_of_weight_0_is_not_learned_from() -> None:
    passed = {"role": "assistant", "content": ONE, "weight": 0}
    learned = {"role": "assistant", "content": TWO, "weight": 1}
    assert read({"messages": [{"role": "user", "content": "Hm?"}, passed, learned]}) == [(TWO, None)]


def test_marks_line_ends_and_the_line_ends_of_other_alphabets_are_read() -> None:
    text = f"{ONE}\u2028{TWO}"
    data = b"\xef\xbb\xbf" + f"{GOOD}\r\n{json.dumps({'text': text}, ensure_ascii=False)}\r\n".encode()
    assert [found.text for found in read_training_file(data)] == [ONE, text]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ({"text": ONE, "title": "x"}, "has other keys"),
        ({"prompt": "Why?"}, "has other keys"),
        ({}, "has other keys"),
        ({"text": 5}, "must have a string as its text"),
        ({"prompt": None, "completion": ONE}, "must have a string as its prompt"),
        ({"text": "Short."}, "write at least 14 more characters"),
        ({"text": "\ud800" * 30}, "not text"),
        ({"prompt": "x" * 5000, "completion": ONE}, "prompt"),
        ({"messages": "hello"}, "must have a list"),
        ({"messages": []}, "no message of the assistant"),
        (chat(("user", "Hello?")), "no message of the assistant"),
        (chat(("tool", ONE)), "whose role is not"),
        (chat(("assistant", ONE), name="Ann"), "Take the rest out"),
        (chat(("assistant", ONE), weight=0.5), "Take the rest out"),
        ({"messages": [{"role": "assistant", "content": [{"type": "text", "text": ONE}]}]}, "a string as its content"),
        ({"messages": [{"role": "assistant", "content": None, "weight": 0}]}, "a string as its content"),
    ],
)
def test_each_bad_line_is_named_with_what_to_do_and_nothing_of_what_it_says(bad: object, sentence: str) -> None:
    with pytest.raises(InvalidUpload, match=f"^Line 3:? .*{sentence}") as refused:
        read_training_file(lines(GOOD, "", bad, "{"))
    assert ONE[:20] not in str(refused.value)
    assert "Short." not in str(refused.value)


def test_what_is_not_utf_8_is_named_by_its_line() -> None:
    with pytest.raises(InvalidUpload, match=r"^Line 2 is not UTF-8 text\. Save the file"):
        read_training_file(GOOD.encode() + b'\n{"text": "caf\xe9"}')


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_writing_says_what_to_put_in(data: bytes) -> None:
    with pytest.raises(InvalidUpload, match="no writing"):
        read_training_file(data)


def test_more_than_a_voice_can_hold_is_refused_before_it_is_kept() -> None:
    with pytest.raises(InvalidUpload, match="may have 500"):
        read_training_file(lines(*({"text": f"{ONE} {number}"} for number in range(MAX_SAMPLES + 1))))
    with pytest.raises(InvalidUpload, match="characters of writing"):
        read_training_file(lines(*({"text": f"{number} " + "x" * 190_000} for number in range(27))))
    with pytest.raises(InvalidUpload, match="Split it"):
        read_training_file(b" " * (MAX_UPLOAD_BYTES + 1))
    assert len(read_training_file(lines(*[GOOD] * (MAX_SAMPLES + 1)))) == MAX_SAMPLES + 1, "the same is kept once"


def test_a_file_of_endless_copies_or_of_one_endless_line_is_refused_before_it_is_read_to_its_end() -> None:
    line = b'{"text": "We had the lamps on, and I was with my sister."}\n'
    assert len(read_training_file(line * MOST_WRITINGS)) == MOST_WRITINGS
    with pytest.raises(InvalidUpload, match="more than 2,000 samples"):
        read_training_file(line * 100_000)
    with pytest.raises(InvalidUpload, match="Line 1 has more than 2,000,000 characters"):
        read_training_file(b'{"messages": [' + b"{}," * 700_000 + b"{}]}")
