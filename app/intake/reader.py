"""`python -m app.intake.reader`: the child process that reads people's files, one after the other, and tells what is in
them. Started by reading.py, which speaks first: a line of JSON, then so many bytes. Nothing it is given is kept.
"""

import json
import sys
from collections.abc import Iterator
from typing import BinaryIO

from app.intake.confinement import confine
from app.intake.files import read_file
from app.intake.findings import to_line

END = b'{"kind": "end"}\n'


def main() -> None:
    """Answer until nobody asks any more."""
    confine()
    answer(sys.stdin.buffer, sys.stdout.buffer)


def answer(questions: BinaryIO, answers: BinaryIO) -> None:
    """For each file its findings, then END. Of an archive, each file's name first."""
    for asked in iter(questions.readline, b""):
        for line in _lines(asked, questions):
            answers.write(line)
            answers.flush()
        answers.write(END)
        answers.flush()


def _lines(asked: bytes, questions: BinaryIO) -> Iterator[bytes]:
    wanted = json.loads(asked)
    data = questions.read(wanted["num_bytes"])
    for found in read_file(wanted["name"], data, frozenset(wanted["addresses"]), skip=wanted["skip"]):
        if isinstance(found, str):
            yield json.dumps({"kind": "begun", "source": found}).encode() + b"\n"
        else:
            yield to_line(found)


if __name__ == "__main__":
    main()
