from app.web.curve import draw


def metrics(*losses: float, base: float = 2.0) -> list[dict[str, float]]:
    return [
        {"step": 10 * number, "held_out_loss": loss, "base_held_out_loss": base} for number, loss in enumerate(losses)
    ]


def test_nothing_is_drawn_before_the_first_measurement() -> None:
    assert draw([], 400) is None
    assert draw([{"step": 3, "train_loss": 1.0, "held_out_loss": None, "base_held_out_loss": None}], 400) is None


def test_the_curve_falls_on_the_page_when_the_loss_falls() -> None:
    curve = draw(metrics(2.0, 1.5, 1.0), 40)
    assert curve is not None
    ys = [float(spot.split(",")[1]) for spot in curve.points.split()]
    assert ys == sorted(ys)
    assert all(0 <= y <= 100 for y in ys)
    assert curve.base_y == ys[0]


def test_the_right_edge_is_the_most_steps_while_it_runs_and_the_last_step_after() -> None:
    running, ended = draw(metrics(2.0, 1.5), 40), draw(metrics(2.0, 1.5), 10)
    assert running is not None
    assert ended is not None
    assert running.points.split()[-1].startswith("25.0,")
    assert ended.points.split()[-1].startswith("100.0,")


def test_the_base_line_is_inside_the_box_when_the_voice_never_reaches_it() -> None:
    curve = draw(metrics(3.0, 2.9, base=1.0), 10)
    assert curve is not None
    assert 0 <= curve.base_y <= 100
    assert curve.best_loss == 2.9


def test_a_flat_curve_does_not_divide_by_nothing() -> None:
    curve = draw(metrics(2.0, 2.0), 10)
    assert curve is not None
    assert curve.best_y == curve.base_y


def test_the_mark_is_on_the_step_that_is_kept_not_on_the_last_one() -> None:
    curve = draw(metrics(2.0, 1.5, 1.8), 20)
    assert curve is not None
    assert f"{curve.best_x:.1f},{curve.best_y:.1f}" == curve.points.split()[1]
    assert (curve.best_loss, curve.last_loss) == (1.5, 1.8)
