"""Made-up writing for the tuning tests: two people whose every text carries a word the other never uses."""

from collections.abc import Sequence

from tuning.dataset import WrittenText

CANARIES = ("heliotrope", "zinfandel")


def written(canary: str, number: int = 6) -> list[WrittenText]:
    """`number` dated texts of some 30 short words, each with `canary` in its beginning, its middle and its end."""
    return [
        WrittenText(
            f"{canary} day {day}. We walked on until the {canary} lamps came on! We, and my sister, too; "
            f"then home to it, and no one said a word of the {canary}.",
            written_on=f"2024-03-{day + 1:02}",
        )
        for day in range(number)
    ]


def plain(words: int) -> str:
    """A text of that many words in short sentences."""
    return " ".join(f"word{number}." if number % 7 == 6 else f"word{number}" for number in range(words))


def texts_of(writings: Sequence[WrittenText]) -> list[str]:
    return [writing.text for writing in writings]
