"""What somebody had written into the form of this request, for an answer that can do nothing with it but give it back.
Knows no page."""

from flask import current_app, request
from werkzeug.exceptions import HTTPException

FIELDS = ("text", "prompt", "brief")  # of all forms that take more than a line


def typed_text() -> str:
    """All of it, as it was typed. Of a body larger than forms without files may be nothing is read."""
    length = request.content_length
    if request.method != "POST" or length is None or length > current_app.config["MAX_CONTENT_LENGTH"]:
        return ""
    try:
        typed = [request.form.get(field, "") for field in FIELDS]
    except HTTPException:  # a form that can't be read, which is what is answered then
        return ""
    return "\n\n".join(text for text in typed if text.strip())
