"""Many readers of streamed completions in one process that does little else: each asks, reads to the end, asks again.
Told on stdin what to ask, tells on stdout when everybody has begun, and at the end what was read. Measures nothing.

`python -m benchmarks.stream_readers` is started by benchmarks.streams.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from typing import Any

BEGUN = "begun"


@dataclass
class Readings:
    """What all readers together have seen."""

    chunks: int = 0
    ended_well: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # status line, or "broken off" -> how often


@dataclass(frozen=True)
class Reader:
    """One slot: one stream after the other. key: whose; body: the request's JSON."""

    host: str
    port: int
    key: str
    body: bytes

    async def read_on(self, readings: Readings, begun: asyncio.Event) -> None:
        """Stream after stream, until cancelled."""
        while True:
            await self._read_one(readings, begun)

    async def _read_one(self, readings: Readings, begun: asyncio.Event) -> None:
        reading, writing = await asyncio.open_connection(self.host, self.port)
        try:
            writing.write(self._request())
            status = (await reading.readline()).decode("latin-1").strip()
            if " 200 " not in f"{status} ":
                readings.refused[status] = readings.refused.get(status, 0) + 1
                await asyncio.sleep(0.1)
                return
            done = False
            while line := await reading.readline():
                if line.startswith(b"data: "):
                    begun.set()
                    readings.chunks += 1
                    done = line.startswith(b"data: [DONE]")
            if done:
                readings.ended_well += 1
            else:
                readings.refused["broken off"] = readings.refused.get("broken off", 0) + 1
        finally:
            writing.close()

    def _request(self) -> bytes:
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + self.body


async def read_all(asked: dict[str, Any], stop: asyncio.Event) -> Readings:
    """Every reader of `asked` (host, port, asked: key and body of each) until told to stop."""
    readings = Readings()
    readers = [
        Reader(asked["host"], asked["port"], one["key"], json.dumps(one["body"]).encode()) for one in asked["asked"]
    ]
    events = [asyncio.Event() for _ in readers]
    tasks = [
        asyncio.create_task(reader.read_on(readings, begun)) for reader, begun in zip(readers, events, strict=True)
    ]
    await asyncio.gather(*(begun.wait() for begun in events))
    print(BEGUN, flush=True)
    before = readings.chunks
    await stop.wait()
    readings.chunks -= before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return readings


async def main() -> None:
    """One line of JSON in, then anything to stop; one line of JSON out."""
    asked, stop = json.loads(sys.stdin.readline()), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    print(json.dumps(vars(await read_all(asked, stop))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
