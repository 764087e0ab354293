"""The process that reads people's files: what it gives, what it may not do, and that its death costs one file."""

import subprocess
import sys
import zlib
from collections.abc import Sequence

import pytest

from app.intake import reading
from app.intake.findings import Finding, Piece, Refused
from app.intake.reading import NO_TIME, ROOT, TOO_MUCH, GivenFile, read_files
from storage.remarks import kept_text
from tests.app.intake.made_files import docx, letter, pdf, zipped
from tests.factories import SAMPLE_TEXTS

TEXT = SAMPLE_TEXTS[0]
ADA = ("ada@example.org",)


def read(*files: tuple[str, bytes], file_s: float = 30.0, upload_s: float = 90.0) -> list[Finding]:
    given = [GivenFile(name, data) for name, data in files]
    return list(read_files(given, ADA, file_s=file_s, upload_s=upload_s))


def told(found: Sequence[Finding]) -> list[tuple[str, str]]:
    """Sources with the text or the refusal."""
    return [
        (each.source, kept_text(each.parts) if isinstance(each, Piece) else each.sentence)
        for each in found
        if isinstance(each, Piece | Refused)
    ]


def swelling_pdf() -> bytes:
    """A small file with a page that unpacks to two hundred megabytes."""
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(b"\0" * 2**20) for _ in range(200)) + packer.flush()
    whole = pdf(["x"])
    first = whole.index(b"<< /Length")
    last = whole.index(b"endstream")
    head = b"<< /Filter /FlateDecode /Length " + str(len(content)).encode() + b" >>\nstream\n"
    return whole[:first] + head + content + b"\n" + whole[last:]


def test_files_are_read_in_their_order_by_another_process() -> None:
    found = read(
        ("a.txt", TEXT.encode()),
        ("bad.pdf", b"%PDF-1.4"),
        ("b.docx", docx(SAMPLE_TEXTS[1])),
        ("c.eml", letter(f"{SAMPLE_TEXTS[2]}\n\n> quoted\n")),
    )
    assert [source for source, _ in told(found)] == ["a.txt", "bad.pdf", "b.docx", "c.eml"]
    assert [text for _, text in told(found)][::2] == [TEXT, SAMPLE_TEXTS[1]]


def test_a_file_that_takes_too_much_memory_costs_only_itself() -> None:
    found = told(read(("swells.pdf", swelling_pdf()), ("a.txt", TEXT.encode())))
    assert found[0][0] == "swells.pdf"
    assert "could not be read" in found[0][1] or found[0][1] == TOO_MUCH
    assert found[1] == ("a.txt", TEXT)


def test_a_child_that_dies_costs_one_file_of_an_archive_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    child = (
        "import os, sys; from app.intake import files, reader; read = files._alone\n"
        "def dying(source, data, addresses):\n"
        "    if 'deadly' in source: os._exit(9)\n"
        "    return read(source, data, addresses)\n"
        "files._alone = dying; reader.main()"
    )
    monkeypatch.setattr(reading, "COMMAND", (sys.executable, "-c", child))
    data = zipped({"a.txt": TEXT, "deadly.txt": "x", "b.txt": SAMPLE_TEXTS[1]})
    found = told(read(("all.zip", data), ("deadly.txt", b"x"), ("c.txt", SAMPLE_TEXTS[2].encode())))
    assert found == [
        ("all.zip › a.txt", TEXT),
        ("all.zip › deadly.txt", TOO_MUCH),
        ("all.zip › b.txt", SAMPLE_TEXTS[1]),
        ("deadly.txt", TOO_MUCH),
        ("c.txt", SAMPLE_TEXTS[2]),
    ]


def test_a_child_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    child = (
        "import sys, time; from app.intake import files, reader; read = files._alone\n"
        "def endless(source, data, addresses):\n"
        "    while 'endless' in source: time.sleep(1)\n"
        "    return read(source, data, addresses)\n"
        "files._alone = endless; reader.main()"
    )
    monkeypatch.setattr(reading, "COMMAND", (sys.executable, "-c", child))
    assert told(read(("endless.txt", b"x"), file_s=1.0)) == [("endless.txt", TOO_MUCH)]


def test_what_is_left_when_the_time_is_over_is_said() -> None:
    assert told(read(("a.txt", TEXT.encode()), upload_s=0.0)) == [("a.txt", NO_TIME)]


@pytest.mark.parametrize(
    "deed",
    [
        "open('/etc/passwd')",
        "open('README.md')",
        "open('/dev/shm/x', 'w')",
        "import os; os.open('/etc/passwd', 0)",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import socket; socket.create_connection(('127.0.0.1', 1))",
        "import socket; socket.getaddrinfo('localhost', 1)",
        "import os; os.remove('x')",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_the_reading_process_may_do_nothing_but_read(deed: str) -> None:
    code = f"from app.intake.confinement import confine; confine()\n{deed}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "NotAllowed" in done.stderr


def test_the_reading_process_has_a_bounded_memory() -> None:
    code = "from app.intake.confinement import confine; confine()\nx = bytearray(2 * 1024**3)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr


def test_the_reading_process_is_not_told_our_secrets_and_loads_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_MASTER_KEY", "00" * 32)
    assert not any("IDIOLECT" in name for name in reading.ENVIRONMENT)
    code = "import sys, app.intake.reader; print([n for n in ('sqlalchemy', 'flask', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
