"""The model card of an exported model: card.md, filled with its own figures and the list of sources. Every figure is
read from training.json or given as an argument; nothing is measured here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretraining.errors import ModelUnusable
from pretraining.export import EARLIER, REQUESTS, WEIGHTS
from pretraining.mix import SHARES
from pretraining.sources import all_sources, mix_table, sources_table
from pretraining.state import read_figures

_TEMPLATE = Path(__file__).with_name("card.md")
_ANSWERS = (
    "It can go on from a beginning, and answer a request in form: write under a title, around a sentence or a few "
    "words, take a turn in a conversation, name a request that a text answers. The requests it learned from were "
    "derived from its own training text; no person rated an answer."
)
_PLAIN = "It can go on from a beginning. It was not trained to answer requests and has no chat template."


@dataclass(frozen=True)
class Card:
    """model: the exported folder. name, licence: what the model is called and under which licence it is passed on.
    evaluations: figures measured elsewhere, a sentence each. more: further sections, as Markdown."""

    model: Path
    name: str
    licence: str
    evaluations: Sequence[str] = ()
    more: str = ""

    def render(self) -> str:
        """The whole card. Raises ModelUnusable when the folder is not an export."""
        figures = read_figures(self.model)
        if "context" not in figures or not (self.model / WEIGHTS).exists():
            raise ModelUnusable(f"{self.model} is no exported model with its training.json: make it with `export`.")
        return _TEMPLATE.read_text(encoding="utf-8").format(
            name=self.name,
            licence=self.licence,
            details=_details(figures, _config(self.model), (self.model / WEIGHTS).stat().st_size),
            answers=_ANSWERS if REQUESTS in figures else _PLAIN,
            evaluation=self._evaluation(figures),
            more=f"{self.more.strip()}\n\n" if self.more.strip() else "",
            mix=mix_table(dict(SHARES)),
            sources=sources_table(all_sources()),
        )

    def _evaluation(self, figures: dict[str, Any]) -> str:
        said = list(self.evaluations)
        for stage in _second_stages(figures):
            plain, answers = (stage[f"{kind}_bits_per_byte"] for kind in ("plain", "answer"))
            said.append(
                f"Training on {stage['tokens_seen'] / 1e6:.1f} million tokens of requests: held-out plain text "
                f"{plain['before']} before and {plain['after']} after, held-out answers {answers['before']} and "
                f"{answers['after']} bits per byte."
            )
        if REQUESTS not in figures and "held_out_bits_per_byte" in figures:
            said.append(f"{figures['held_out_bits_per_byte']} bits per byte on held-out documents of its own mix.")
        said.append("No benchmark of knowledge or reasoning was run.")
        return "\n".join(f"- {line}" for line in said)


def _config(model: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return config


def _details(figures: dict[str, Any], config: dict[str, Any], size: int) -> str:
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    layers = f"{config['num_hidden_layers']} layers, hidden size {config['hidden_size']}"
    attention = f"{heads} attention heads ({kv_heads} of keys and values)"
    context, positions = figures["context"], config["max_position_embeddings"]
    rows = {
        "architecture": f"Llama: {layers}, {attention}, feed-forward {config['intermediate_size']}, tied embeddings",
        "parameters": f"{figures['parameters']:,}" if "parameters" in figures else "",
        "vocabulary": f"{config['vocab_size']:,}, byte-level BPE; `<\\|endoftext\\|>` opens every document",
        "context": f"trained on {context} tokens; {positions} positions, the rest being room for a prefix",
        "weights": f"safetensors, {config['dtype']}, {size / 1e6:.0f} MB",
        "training": _training(figures),
        "language": "English",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items() if v)])


def _training(figures: dict[str, Any]) -> str:
    said = f"from scratch, {figures['tokens_seen'] / 1e6:.1f} million tokens in {figures['steps']:,} steps"
    for stage in _second_stages(figures):
        said += (
            f"; then {stage['tokens_seen'] / 1e6:.1f} million tokens of requests and answers, of which "
            f"{stage['plain_share']:.0%} of the rows plain text"
        )
    return said


def _second_stages(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What each came to, the first one first."""
    found: list[dict[str, Any]] = []
    stage = figures.get(REQUESTS)
    while stage is not None:
        found.insert(0, stage)
        stage = stage.get(EARLIER)
    return found
