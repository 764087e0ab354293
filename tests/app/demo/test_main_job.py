"""What the demo says of a training."""

from app.demo.main_job import verdict_of


def test_a_voice_that_could_not_be_measured_is_told_without_figures() -> None:
    unknown = {"base_bits_per_char": 2.0, "voice_bits_per_char": None, "reason": "It could not be measured."}
    assert verdict_of({"published": False, "figures": unknown}) == "Not published: It could not be measured."
    measured = unknown | {"voice_bits_per_char": 2.1, "reason": "It was no closer."}
    assert "base model 2.000, voice 2.100" in verdict_of({"published": False, "figures": measured})
