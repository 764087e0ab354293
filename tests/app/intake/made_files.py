"""Files of every kind that can be read, made from their text: no file of anybody's is kept here."""

import zipfile
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from io import BytesIO
from xml.sax.saxutils import escape

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
ESCAPED = str.maketrans({"(": r"\(", ")": r"\)"})


def zipped(files: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these, packed by this method."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def docx(*paragraphs: str) -> bytes:
    """A Word document of these; one that begins with "<" is WordprocessingML as it is."""
    body = "".join(
        given if given.startswith("<") else f"<w:p><w:r><w:t>{escape(given)}</w:t></w:r></w:p>" for given in paragraphs
    )
    return zipped({"word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'})


def pdf(*pages: Sequence[str]) -> bytes:
    """One page for each list of lines."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    kids = []
    for lines in pages:
        shown = " T* ".join(f"({line.translate(ESCAPED)}) Tj" for line in lines)
        stream = f"BT /F1 11 Tf 14 TL 60 780 Td {shown} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    made, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(made))
        made += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    made += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\n"
    return (made + f"startxref\n{made.index('xref')}\n%%EOF").encode("cp1252")


def letter(
    text: str,
    sender: str = "Ada <ada@example.org>",
    *,
    subject: str = "Re: The roof",
    date: str = "Tue, 03 Mar 2026 09:15:00 +0100",
    html: str = "",
) -> bytes:
    """One message, as an .eml file holds it."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"], message["Date"] = sender, "bob@example.org", subject, date
    if text:
        message.set_content(text)
    if html:
        (message.add_alternative if text else message.set_content)(html, subtype="html")
    return bytes(message)


def mailbox(*letters: bytes) -> bytes:
    """An mbox of these messages."""
    return b"".join(
        b"From MAILER Tue Mar  3 09:15:00 2026\n"
        + each.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ")
        + b"\n"
        for each in letters
    )


def rss(*posts: tuple[str, str, str], author: str = "") -> bytes:
    """A feed of (title, date, HTML)."""
    items = "".join(
        f"<item><title>{escape(title)}</title><pubDate>{date}</pubDate>"
        f"{f'<dc:creator>{author}</dc:creator>' if author else ''}"
        f"<description>{escape(html)}</description></item>"
        for title, date, html in posts
    )
    return (
        '<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<channel><title>Blog</title>{items}</channel></rss>"
    ).encode()
