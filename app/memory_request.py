"""A request whose uploads never touch a disk: what people wrote lies there sealed, or not at all."""

from io import BytesIO
from typing import IO

from flask import Request


class MemoryRequest(Request):
    """Flask would put a large upload in a temporary file, from where no erasure could call it back."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()
