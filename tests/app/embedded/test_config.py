from pathlib import Path

import pytest

from app.embedded.config import EmbeddedConfig
from app.errors import ConfigurationError


def test_the_command_line_wins_over_the_environment_and_both_over_the_defaults() -> None:
    env = {"IDIOLECT_DATA_DIR": "/srv/data", "IDIOLECT_PORT": "9000"}
    assert EmbeddedConfig.from_env({}).port == 8000
    assert EmbeddedConfig.from_env(env).port == 9000
    assert EmbeddedConfig.from_env(env).data_dir == Path("/srv/data")
    assert EmbeddedConfig.from_env(env, data_dir="/other", port=0) == EmbeddedConfig(Path("/other"), 0, env)


@pytest.mark.parametrize("wrong", ["eighty", "70000", "-1"])
def test_a_port_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        EmbeddedConfig.from_env({"IDIOLECT_PORT": wrong})
    with pytest.raises(ConfigurationError, match=wrong):
        EmbeddedConfig.from_env({}, port=wrong)
