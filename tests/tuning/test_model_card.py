"""The languages that a base model's card names, and what is made of a card that names none."""

from pathlib import Path

import pytest

from tests.tiny_model import save_tiny
from tuning.base_model import load_base_model
from tuning.config import TuningConfig
from tuning.model_card import languages_of


@pytest.mark.parametrize(
    ("card", "languages"),
    [
        ("---\nlanguage: en\n---\n# A model", ("en",)),
        ("---\nlanguage: [en, fr, multilingual]\n---\n# A model", ("en", "fr")),
        ("---\nlicense: mit\n---\n# A model", ()),
        ("# A model without front matter", ()),
        ("---\nlanguage: [en\n---\n", ()),
    ],
)
def test_a_card_names_languages_or_none(card: str, languages: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert languages_of(str(tmp_path)) == languages


def test_a_model_without_a_card_reads_nothing_that_is_known(tmp_path: Path) -> None:
    assert languages_of(str(tmp_path)) == ()
    assert languages_of("nobody/was-never-fetched") == ()


def test_a_loaded_model_knows_its_languages(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "tiny")
    (folder / "README.md").write_text("---\nlanguage: de\n---\n")
    config = TuningConfig.from_env({"IDIOLECT_BASE_MODEL": str(folder), "IDIOLECT_NUM_VIRTUAL_TOKENS": "4"})
    assert load_base_model(config).languages == ("de",)
