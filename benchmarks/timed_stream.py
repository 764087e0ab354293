"""One streamed answer with the time of each of its tokens, over plain HTTP: a client that costs little beside a server
on the same machine. Knows nothing of loads or of what is made of the times."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.registered_users import Person


@dataclass(frozen=True)
class Answered:
    """One answer. asked_at, token_at: on time.perf_counter's clock; the last token's time is the answer's end."""

    asked_at: float
    token_at: tuple[float, ...]

    @property
    def first_token_s(self) -> float:
        """Time to first token."""
        return self.token_at[0] - self.asked_at

    @property
    def gaps_s(self) -> list[float]:
        """Times between tokens."""
        return [later - earlier for earlier, later in zip(self.token_at, self.token_at[1:], strict=False)]


class Unanswered(Exception):
    """The API refused, or broke off."""


async def ask(
    address: tuple[str, int], person: Person, prompt: Sequence[int] | str, max_tokens: int, **fields: Any
) -> Answered:
    """Ask for an answer in the person's voice and read it to its end. Raises Unanswered."""
    body = {"model": person.voice_id, "prompt": prompt, "max_tokens": max_tokens, "stream": True, **fields}
    asked_at = time.perf_counter()
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(_request(person.key, json.dumps(body).encode()))
        status = await reader.readline()
        if b" 200 " not in status:
            raise Unanswered((status + await reader.read()).decode(errors="replace"))
        token_at = await _token_times(reader)
    finally:
        writer.close()
    return Answered(asked_at, tuple(token_at))


async def _token_times(reader: asyncio.StreamReader) -> list[float]:
    token_at: list[float] = []
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            return token_at
        if line.startswith(b"data: "):
            token_at.append(time.perf_counter())
            if line.startswith(b'data: {"error"'):
                raise Unanswered(line.decode(errors="replace"))
    raise Unanswered("the answer broke off")


def _request(key: str, body: bytes) -> bytes:
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
