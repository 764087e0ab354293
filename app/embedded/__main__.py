"""`python -m app.embedded [--data DIR] [--port N]`: the whole platform on this machine until Ctrl-C.

Exit status: 0 after a stop that was asked for, 1 when a part kept dying, 2 when something has to be mended first.
"""

import argparse
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from app.embedded.config import DEFAULT_DATA_DIR, DEFAULT_PORT, EmbeddedConfig
from app.embedded.errors import PlatformFailed
from app.embedded.supervisor import Supervisor
from app.errors import AppError
from storage.errors import StorageError
from tuning.errors import TuningError

TEND_EVERY_S = 0.5
FAILED, REFUSED = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal. Returns the exit status."""
    options = _parser().parse_args(arguments)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # a script's background job starts with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        config = EmbeddedConfig.from_env(data_dir=options.data, port=options.port)
        with Supervisor(config, _report) as platform:
            _run(platform)
    except KeyboardInterrupt:
        _report("stopped")
        return 0
    except PlatformFailed as failed:
        _report(str(failed))
        return FAILED
    except (AppError, StorageError, TuningError) as refused:
        _report(str(refused))
        return REFUSED


def _run(platform: Supervisor) -> NoReturn:
    try:
        _report("starting; logs are in the data folder")
        platform.start()
        if platform.new_keys:
            print(
                f"Back up {platform.new_keys} apart from the rest, now and whenever people have joined: without the "
                "master key and the people's wrapped keys in it no sample and no voice can ever be read again.",
                flush=True,
            )
        print(f"Idiolect runs at {platform.public_url} · {platform.sign_in_advice()} · Ctrl-C stops it", flush=True)
        while True:
            platform.tend()
            time.sleep(TEND_EVERY_S)
    finally:  # stopping takes seconds at most; a second Ctrl-C must not leave half of it behind
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.embedded", description="Run Idiolect on this machine.")
    parser.add_argument(
        "--data", help=f"folder that keeps everything (default: IDIOLECT_DATA_DIR or {DEFAULT_DATA_DIR})"
    )
    parser.add_argument("--port", help=f"port of the pages (default: IDIOLECT_PORT or {DEFAULT_PORT}; 0: any)")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _report(sentence: str) -> None:
    print(f"idiolect: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
