"""Random models of real shapes, saved for the platform's own processes."""

from pathlib import Path

import pytest

from benchmarks.shapes import main
from tuning.base_model import load_base_model
from tuning.config import TuningConfig


def test_a_saved_shape_is_a_base_model_that_can_be_served(tmp_path: Path) -> None:
    main(["tiny", str(tmp_path / "tiny")])
    base = load_base_model(TuningConfig(base_model=str(tmp_path / "tiny"), device="cpu"))
    assert base.layer_shapes == ((2, 8), (2, 8))
    assert base.decode(base.encode("The ferry was late.", document_start=False)) == "The ferry was late."
    with pytest.raises(SystemExit):
        main(["7b", str(tmp_path / "none")])
