"""Whose words: quotations, forwarded messages, signatures and boilerplate are told from a writer's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.own_words import (
    ATTRIBUTION,
    FORWARDED,
    FRONT_MATTER,
    NOTICE,
    QUOTE,
    SIGNATURE,
    parts_of,
)
from storage.remarks import OWN, kept_text

MINE = "I will come on Friday, if the ferry does."


def kinds(text: str, *, mail: bool = True) -> list[str]:
    return [part.kind for part in parts_of(text, mail=mail)]


def own(text: str, *, mail: bool = True) -> str:
    return kept_text(parts_of(text, mail=mail))


@pytest.mark.parametrize(
    "attribution",
    [
        "On Tue, 3 Mar 2026 at 09:15, Bob <bob@example.org> wrote:",
        "On Tue, 3 Mar 2026 at 09:15, a man with a very long name indeed\n<bob@example.org> wrote:",
        "Am 03.03.2026 um 09:15 schrieb Bob:",
        "Le 3 mars 2026 à 09:15, Bob a écrit :",
        "El 3 mar 2026, Bob escribió:",
        "Op di 3 mrt. 2026 om 09:15 schreef Bob:",
        "Bob wrote:",
    ],
)
@pytest.mark.parametrize("mail", [True, False])
def test_a_reply_keeps_its_own_words_and_none_of_the_other_s(attribution: str, mail: bool) -> None:
    text = f"{MINE}\n\n{attribution}\n> Will you come?\n>\n> We have cake.\n"
    assert own(text, mail=mail) == MINE
    assert kinds(text, mail=mail) == [OWN, ATTRIBUTION, QUOTE]


def test_an_answer_between_the_lines_is_kept_in_its_order() -> None:
    text = "> Will you come?\n\nYes.\n\n> With the dog?\n\nOf course."
    assert own(text) == "Yes.\n\nOf course."
    assert kinds(text) == [QUOTE, OWN, QUOTE, OWN]


def test_a_message_that_is_quoted_without_marks_is_found() -> None:
    text = f"{MINE}\n\nOn Tue, 3 Mar 2026, Bob wrote:\n\nWill you come?\n\nWe have cake."
    assert own(text) == MINE
    assert own(text, mail=False) == text, "in what is no letter it may be a story"


@pytest.mark.parametrize(
    "begins",
    [
        "-----Original Message-----",
        "---------- Forwarded message ---------",
        "-------- Weitergeleitete Nachricht --------",
        "Begin forwarded message:",
        "________________________________\nFrom: Bob\nSent: Tuesday\nTo: Ada\nSubject: Cake",
        "Von: Bob\nGesendet: Dienstag\nAn: Ada\nBetreff: Kuchen",
        "*From:* Bob\n*Date:* Tuesday\n*To:* Ada",
    ],
)
def test_what_was_forwarded_is_not_ones_own(begins: str) -> None:
    text = f"{MINE}\n\n{begins}\n\nWill you come? We have cake.\n\nBob"
    assert own(text) == MINE
    assert kinds(text) == [OWN, FORWARDED]


@pytest.mark.parametrize(
    ("below", "kind"),
    [
        ("-- \nAda Lovelace\nEngine Street 3", SIGNATURE),
        ("Sent from my iPhone", SIGNATURE),
        ("Get Outlook for iOS", SIGNATURE),
        ("This e-mail is confidential and meant for the intended recipient only.", NOTICE),
        ("_______________________________________________\nRowing mailing list", NOTICE),
        ('You received this message because you are subscribed to the group "Rowing".', NOTICE),
    ],
)
def test_what_stands_below_every_letter_is_taken_out_of_letters_only(below: str, kind: str) -> None:
    assert kinds(f"{MINE}\n\n{below}") == [OWN, kind]
    assert own(f"{MINE}\n\n{below}", mail=False) == f"{MINE}\n\n{below}"


def test_a_long_end_after_two_dashes_is_no_signature() -> None:
    text = f"{MINE}\n--\n" + "\n".join(f"And line {number}." for number in range(20))
    assert own(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "She wrote:\n\nand then nothing came.",
        "From here on it was dark.\nTo the left stood a barn.\nIt rained.",
        "On Monday, in 1987, my aunt wrote a letter. It said: come.",
        "3 > 2, as they say.\nAnd a -> b.",
        "---\n\nA scene that begins with a rule.\n\n---\n\nAnd another.",
        "The confidential clerk was the intended victim.",
    ],
)
def test_plain_prose_is_left_alone(text: str) -> None:
    assert own(text) == text
    assert own(text, mail=False) == text


def test_a_file_s_notes_on_top_are_not_its_text() -> None:
    text = f"---\ntitle: The ferry\ntags:\n  - sea\n---\n\n{MINE}"
    assert kinds(text, mail=False) == [FRONT_MATTER, OWN]
    assert own(text, mail=False) == MINE


@given(st.lists(st.sampled_from(["> a", "", "On 3 May, Bob wrote:", "-- ", "mine", "From: x", "To: y", "Date: z"])))
def test_no_line_is_ever_lost(lines: list[str]) -> None:
    for mail in (True, False):
        found = [line for part in parts_of("\n".join(lines), mail=mail) for line in part.text.split("\n")]
        assert [line.rstrip() for line in found if line.strip()] == [line.rstrip() for line in lines if line.strip()]
