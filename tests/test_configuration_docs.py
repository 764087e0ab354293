"""The defaults in docs/configuration.md are those of the configuration classes."""

import re
from dataclasses import MISSING, fields

from app.config import AppConfig
from app.embedded.config import EmbeddedConfig
from storage.config import StorageConfig
from tests.source_tree import ROOT
from tuning.config import PostConfig, TuningConfig

ROW = re.compile(r"^\| `IDIOLECT_([A-Z_]+)` \|.*\| ([^|]*?) ?\|$", re.MULTILINE)
IN_WORDS = {"base_model", "base_model_name", "master_key_file"}  # a path of the checkout, and what has no field


def listed() -> dict[str, str]:
    """Field name -> its default as the page writes it: a value, "" for empty, "required"."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = {name.lower(): default.strip("`") for name, default in ROW.findall(page)}
    return {name: "" if default == "empty" else default for name, default in rows.items() if name not in IN_WORDS}


def coded() -> dict[str, str]:
    """The same, of the classes; a number with or without a fraction is written the same way."""
    defaults = {}
    for config in (StorageConfig, TuningConfig, PostConfig, AppConfig, EmbeddedConfig):
        for field in fields(config):
            value = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            defaults[field.name] = "required" if field.default is MISSING else value
    return defaults


def test_the_documented_defaults_are_the_real_ones() -> None:
    page, code = listed(), coded()
    assert len(page) > 15
    assert {name for name in code if name not in page} <= IN_WORDS | {"environment"}
    wrong = {
        name: (said, code[name])
        for name, said in page.items()
        if said != code[name] and not (code[name] == "required" and "required" in said)
    }
    assert not wrong, f"variable: (documented, real): {wrong}"
