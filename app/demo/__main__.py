"""`python -m app.demo [--samples PATH] [--author NAME]`: the main job on a platform of its own, which it stops again.

The last line on stdout is one JSON object. Exit status: 0 when the main job ran to its end (published or not), 1 when
the platform failed, 2 when the samples can't be used or the platform can't start here, 130 after Ctrl-C.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import httpx

from app.demo.errors import DemoFailed
from app.demo.main_job import MainJob
from app.demo.terminal import say
from app.embedded.config import EmbeddedConfig
from app.embedded.errors import CannotStart, PlatformFailed
from app.embedded.log_files import last_lines
from app.embedded.supervisor import Supervisor
from app.errors import AppError
from app.pieces.errors import UnusableWriting
from app.pieces.reading import BUNDLED, Piece, read_pieces
from storage.errors import StorageError
from tuning.errors import TuningError

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
NOT_FOR_A_DEMO = ("IDIOLECT_PUBLIC_URL", "IDIOLECT_MASTER_KEY", "IDIOLECT_MASTER_KEY_FILE")  # a real platform's own


def main(arguments: list[str] | None = None) -> int:
    """Run the demo. Returns the exit status."""
    options = _parser().parse_args(arguments)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # a script's background job starts with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        pieces = read_pieces(Path(options.samples) if options.samples else BUNDLED, options.author or None)
        say(_opening(pieces, options.samples, options.author))
        figures = _on_a_platform_of_its_own(pieces)
    except KeyboardInterrupt:
        _report("stopped")
        return INTERRUPTED
    except (UnusableWriting, CannotStart) as refused:
        _report(str(refused))
        return REFUSED
    except (AppError, StorageError, TuningError) as failed:
        _report(str(failed))
        return FAILED
    print(json.dumps(figures), flush=True)
    return 0


def _on_a_platform_of_its_own(pieces: list[Piece]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="idiolect-demo-", ignore_cleanup_errors=True) as folder:
        config = EmbeddedConfig.from_env(data_dir=folder, port=0).without(*NOT_FOR_A_DEMO)
        with Supervisor(config, _report) as platform:
            try:
                platform.start()
                say(f"A platform of its own is up at {platform.url}.")
                return MainJob(platform.url, platform.tend).run(pieces)
            except (DemoFailed, httpx.HTTPError) as failed:
                logs = "\n".join(f"  {log.name}\n{last_lines(log)}" for log in platform.logs())
                raise PlatformFailed(f"{failed}. The ends of the logs:\n{logs}") from failed
            finally:  # a second Ctrl-C must not leave half of the platform behind
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)


def _opening(pieces: list[Piece], samples: str | None, author: str | None) -> str:
    if not samples:
        return f"Idiolect demo: {len(pieces)} bundled pieces by an invented person, a retired tram driver."
    by = f" by {author}" if author else ""
    unread = sum(1 for piece in pieces if piece.given_date and not piece.written_on)
    note = f" {unread} of their dates are not like 2026-05-14, so file order counts." if unread else ""
    number = "1 piece" if len(pieces) == 1 else f"{len(pieces)} pieces"
    return f"Idiolect demo: {number}{by} from {samples}.{note}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.demo", description="Idiolect's main job, start to finish.")
    parser.add_argument("--samples", help="folder of .txt or .md files, or a .jsonl file (default: bundled pieces)")
    parser.add_argument("--author", help="whose lines of the .jsonl file to take")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _report(sentence: str) -> None:
    print(f"idiolect: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
