"""What is said beside a piece: what it repeats, what language it looks to be in, whose it is. And nothing where nothing
is to be said."""

import pytest

from app.intake.findings import Piece
from app.intake.languages import language_of, name_of, other_language
from app.intake.noticing import Incoming, Known, noticed
from app.intake.own_words import parts_of
from app.intake.repeats import repeated
from storage.remarks import Remarks, kept_text
from storage.text_intake import draft
from tests.factories import SAMPLE_TEXTS

SENTENCES = {
    "de": "Ich traue keiner Küche ohne wackligen Tisch. Unserer hat ein Tütchen Samen unter einem Bein, und er hat "
    "zwei Hunde und eine Ehe überlebt, die nicht gut war.",
    "fr": "Je ne fais pas confiance à une cuisine sans table bancale. La nôtre a un sachet de graines sous un pied et "
    "elle a survécu à deux chiens et à un mariage.",
    "es": "No me fío de una cocina sin una mesa coja. La nuestra tiene un sobre de semillas bajo una pata y ha "
    "vivido más que dos perros y que un matrimonio no muy largo.",
    "it": "Non mi fido di una cucina senza un tavolo che traballa. Il nostro ha una bustina di semi sotto una gamba ed "
    "è sopravvissuto a due cani e a un matrimonio.",
    "pt": "Não confio numa cozinha sem uma mesa bamba. A nossa tem um pacote de sementes debaixo de uma perna e já "
    "viveu mais do que dois cães e um casamento que não foi longo.",
    "nl": "Ik vertrouw geen keuken zonder wiebelende tafel. Die van ons heeft een zakje zaad onder een poot en heeft "
    "twee honden en een huwelijk overleefd, en dat is niet niks.",
    "da": "Jeg stoler ikke på et køkken uden et bord, der vakler. Vores har en pose frø under det ene ben, og det har "
    "overlevet to hunde og et ægteskab, som blev kort.",
    "pl": "Nie ufam kuchni, w której nie ma chwiejnego stołu. Nasz ma torebkę nasion pod nogą i przeżył już dwa psy "
    "oraz jedno małżeństwo, które nie było zbyt długie.",
    "ru": "Я не доверяю кухне без шаткого стола. Наш пережил двух собак и один брак, который был недолгим.",
    "uk": "Я не довіряю кухні без хиткого столу. Наш пережив двох собак і один шлюб, який був недовгим.",
    "el": "Δεν εμπιστεύομαι κουζίνα χωρίς τραπέζι που κουνιέται. Το δικό μας έζησε περισσότερο από δύο σκύλους.",
    "ja": "私はぐらつくテーブルのない台所を信用しない。うちのテーブルは二匹の犬よりも長生きした。",
    "zh": "我不相信没有摇晃桌子的厨房。我们家的桌子活得比两条狗还长，也比一段婚姻还长。",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_language_is_told_from_a_sentence_or_two(code: str) -> None:
    assert language_of(SENTENCES[code]) == code
    assert other_language(SENTENCES[code], "en") == code
    assert other_language(SENTENCES[code], code) is None
    assert name_of(code) != code


@pytest.mark.parametrize("text", SAMPLE_TEXTS)
def test_english_is_never_called_another_language(text: str) -> None:
    assert language_of(text) == "en"
    assert other_language(text, "en") is None


@pytest.mark.parametrize("text", ["", "Ja.", "1987 1988 1989 " * 20, "lorem ipsum dolor sit amet " * 10, "🙂" * 50])
def test_what_cannot_be_told_is_not_called_anything(text: str) -> None:
    assert language_of(text) is None
    assert other_language(text, "en") is None


def test_a_piece_that_repeats_another_is_found_and_says_which() -> None:
    changed = SAMPLE_TEXTS[1].replace("two dogs", "three dogs").replace("slowly", "with care")
    new = [SAMPLE_TEXTS[0], changed, f"{SAMPLE_TEXTS[3]} {SAMPLE_TEXTS[0]}"]
    found = repeated(new, [SAMPLE_TEXTS[1], SAMPLE_TEXTS[2]])
    assert found[0] is None
    assert found[1] is not None
    assert found[1][0] == 0
    assert 0.7 < found[1][1] < 1
    assert found[2] is not None
    assert found[2][0] == 2, "the first of the new ones"


def test_only_the_later_of_two_repeats_the_other() -> None:
    long = " ".join(SAMPLE_TEXTS)
    assert repeated([long, SAMPLE_TEXTS[0]], []) == [None, (0, 1.0)]
    assert repeated([SAMPLE_TEXTS[0], long], []) == [None, None], "most of it is new"


def test_what_is_too_short_or_has_no_spaces_is_judged_rightly() -> None:
    assert repeated(["Yours, Ada", "Yours, Ada"], ["Yours, Ada"]) == [None, None]
    again = SENTENCES["zh"].replace("两条", "三条")
    assert repeated([again], [SENTENCES["zh"]])[0] is not None
    assert repeated([SENTENCES["ja"]], [SENTENCES["zh"]]) == [None]


def look(
    *texts: str, known: tuple[str, ...] = (), base: tuple[str, ...] = (), sender: str | None = None
) -> list[Remarks]:
    incoming = []
    for number, text in enumerate(texts):
        piece = Piece("a.txt", parts_of(text, mail=False), sender=sender)
        incoming.append(Incoming(piece, draft(kept_text(piece.parts)), f"new {number}"))
    return noticed(incoming, [Known(text, f"known {number}") for number, text in enumerate(known)], base)


def test_nothing_is_said_of_an_ordinary_piece() -> None:
    assert look(*SAMPLE_TEXTS, base=("en",)) == [Remarks(source="a.txt")] * len(SAMPLE_TEXTS)
    assert not look(SAMPLE_TEXTS[0])[0].doubtful


def test_what_was_taken_out_stays_beside_the_piece_whole() -> None:
    (remarks,) = look(f"{SAMPLE_TEXTS[0]}\n\nBob wrote:\n> Come.")
    assert [(part.kind, part.out) for part in remarks.parts] == [("", False), ("attribution", True), ("quote", True)]
    back = remarks.with_part(2, out=False)
    assert kept_text(back.parts) == f"{SAMPLE_TEXTS[0]}\n\n> Come."
    for number in (0, 3, -1):
        with pytest.raises(IndexError):
            remarks.with_part(number, out=True)


def test_a_repeat_is_named_by_its_text_and_doubted() -> None:
    first, second = look(SAMPLE_TEXTS[2] + " And more.", SAMPLE_TEXTS[2], known=SAMPLE_TEXTS[:2])
    assert first.repeats is None
    assert (second.repeats, second.doubtful) == ("new 0", True)
    (again,) = look(SAMPLE_TEXTS[1] + " More.", known=SAMPLE_TEXTS[:2])
    assert again.repeats == "known 1"


def test_another_s_letter_is_doubted() -> None:
    assert look(SAMPLE_TEXTS[0], sender="bob@example.org")[0].doubtful


def test_a_piece_in_another_language_than_the_rest_is_told() -> None:
    odd = look(SENTENCES["fr"], known=SAMPLE_TEXTS[:3])[0]
    assert (odd.language, odd.expected, odd.expected_by, odd.doubtful) == ("fr", "en", "rest", False)
    assert look(SENTENCES["fr"], known=SAMPLE_TEXTS[:1])[0].language is None, "one piece is no rest"
    assert look(SENTENCES["de"], known=(SENTENCES["de"] + " Ja.", SENTENCES["de"] + " Nein."))[0].language is None


def test_a_piece_that_the_base_model_does_not_read_is_told() -> None:
    said = look(SENTENCES["de"], base=("en",))[0]
    assert (said.language, said.expected, said.expected_by) == ("de", "en", "base")
    assert look(SENTENCES["de"], base=("en", "de"))[0].language is None
    assert look(SENTENCES["de"])[0].language is None, "no card, no claim"


def test_remarks_are_kept_as_they_are() -> None:
    remarks = look(f"{SENTENCES['fr']}\n\n> cité", known=SAMPLE_TEXTS[:3])[0]
    assert Remarks.from_json(remarks.to_json()) == remarks
