"""What the writing page asks the API for."""

import pytest

from app.web.wishes import LENGTHS, Reach, Wish, tail

PLAIN = Reach("small", num_tokens=600, takes_requests=False)
CHAT = Reach("large", num_tokens=600, takes_requests=True)
FORM = {"task": "continue", "before": "Dear all,", "length": "short", "temperature": "0.7", "seed": "5"}


def asked(reach: Reach, *, led: bool = True, **changes: str) -> tuple[str, dict[str, object]]:
    return Wish.from_form({**FORM, **changes}, reach).request(reach, "voice-a", led=led, stream=True)


def test_a_text_is_gone_on_with() -> None:
    body = {"model": "voice-a", "prompt": "Dear all,", "max_tokens": 40, "temperature": 0.7, "seed": 5, "stream": True}
    assert asked(PLAIN) == asked(CHAT) == ("/v1/completions", body)


def test_the_next_word_brings_its_own_space() -> None:
    assert asked(PLAIN, before="Dear all,  ") == asked(PLAIN)
    assert asked(PLAIN, before="Dear all,\n\n")[1]["prompt"] == "Dear all,\n\n"


def test_only_what_is_led_has_a_strength_and_only_several_drafts_a_number() -> None:
    for strength, drafts in (("1", "1"), ("1.0", "")):
        assert asked(PLAIN, strength=strength, drafts=drafts) == asked(PLAIN)
    _, body = asked(PLAIN, strength="0.5", drafts="3")
    assert (body["voice_strength"], body["n"]) == (0.5, 3)
    assert asked(PLAIN, strength="0")[1]["voice_strength"] == 0
    _, bare = asked(PLAIN, led=False, strength="0.5", drafts="3")
    assert "voice_strength" not in bare
    assert bare["n"] == 3


def test_a_model_that_takes_requests_is_told_what_to_write() -> None:
    url, body = asked(CHAT, task="brief", brief=" A letter about the roof. ", before="ignored")
    assert url == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "A letter about the roof."}]
    assert body["max_completion_tokens"] == LENGTHS["short"]
    assert "prompt" not in body
    url, body = asked(CHAT, task="rewrite", passage="The roof leaks.")
    assert url == "/v1/chat/completions"
    assert "The roof leaks." in str(body["messages"])


def test_a_plain_model_writes_a_passage_anew_from_what_stands_before_it() -> None:
    url, body = asked(PLAIN, task="rewrite", passage="It leaks. " * 20)
    assert (url, body["prompt"], body["max_tokens"]) == ("/v1/completions", "Dear all,", 100)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"before": " \n"}, "a few words to begin"),
        ({"before": "x" * 200_001}, "200,001"),
        ({"task": "sing"}, "Ask for a continuation"),
        ({"task": "brief", "brief": "A letter."}, "no chat template"),
        ({"task": "rewrite", "passage": " "}, "Select the words"),
        ({"task": "rewrite", "passage": "It leaks.", "before": " "}, "select something further on"),
        ({"task": "rewrite", "passage": "x" * 4_001}, "4,001"),
        ({"length": "endless"}, "short, medium or long"),
        ({"temperature": "9"}, "Temperature goes from 0 to 2"),
        ({"temperature": "nan"}, "Temperature goes from 0 to 2"),
        ({"strength": "2.1"}, "Strength goes from 0 to 2"),
        ({"strength": "much"}, "Strength goes from 0 to 2"),
        ({"drafts": "0"}, "from 1 to 3"),
        ({"drafts": "4"}, "from 1 to 3"),
        ({"seed": "-1"}, "from 0 to"),
    ],
)
def test_what_can_not_be_is_said_in_a_sentence(changes: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        asked(PLAIN, **changes)


def test_a_brief_must_say_something() -> None:
    with pytest.raises(ValueError, match="Say in a sentence"):
        asked(CHAT, task="brief", brief=" ")


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("text", ["One word after another. " * 500, "übergrößenträgerähnlich " * 400, "漢字" * 2000])
def test_what_is_read_and_what_is_written_fit_together(length: str, text: str) -> None:
    for room in (100, 600):
        reach = Reach("any", num_tokens=room, takes_requests=False)
        _, body = asked(reach, before=text, length=length)
        prompt, max_tokens = str(body["prompt"]), body["max_tokens"]
        assert isinstance(max_tokens, int)
        assert text.rstrip(" ").endswith(prompt)
        assert 0 < len(prompt.encode()) / 2 + max_tokens <= room
        assert max_tokens >= min(LENGTHS[length], room // 2)


def test_a_text_is_cut_before_a_word_and_never_inside_a_letter() -> None:
    assert tail("all of it", 100) == "all of it"
    assert tail("the first and the last words", 7) == "last words"
    assert tail("ß" * 10, 3) == "ß" * 3
    assert tail("word " + "x" * 50, 10) == "x" * 20


def test_how_far_the_model_reads_is_said_low_rather_than_high() -> None:
    assert PLAIN.num_words == 160
    assert Reach("tiny", num_tokens=40, takes_requests=False).num_words == 10
