import io

from app.demo.terminal import ProgressBar, side_by_side

METRICS = {"step": 50, "max_steps": 200, "held_out_loss": 2.41, "base_held_out_loss": 2.62, "eta_seconds": 31.7}


def test_two_texts_stand_side_by_side_within_the_width() -> None:
    shown = side_by_side("base", "one two three " * 12, "voice", "short\n\nsecond part", width=60).splitlines()
    assert shown[0].split() == ["base", "│", "voice"]
    assert shown[2].endswith("short")
    assert shown[4].endswith("second part")
    assert all(len(line) <= 60 for line in shown)


def test_the_bar_shows_step_losses_and_time_left() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    bar.show(METRICS)
    bar.show(METRICS | {"step": 51, "held_out_loss": None})  # too soon after the last line
    bar.finish()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "██████··················" in lines[0]
    assert "step 50 of 200 · held-out 2.410 bits/char (base model 2.620) · about 32 s left" in lines[0]
    assert "step 51 of 200 · held-out 2.410" in lines[1]  # not measured at this step: still known


def test_in_a_terminal_the_bar_moves_in_place() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    bar = ProgressBar(stream)
    for step in range(3):
        bar.show({"step": step, "max_steps": 3})
    bar.finish()
    assert stream.getvalue().count("\r") == 3
    assert stream.getvalue().count("\n") == 1
