"""The demo's API client: the few calls of the main job over /v1. Knows no pages and prints nothing."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

from app.demo.errors import DemoFailed
from app.pieces.reading import Piece

TOO_MANY_REQUESTS = 429


class ApiRefusal(DemoFailed):
    """The API said no. The message is its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiCaller:
    """Calls the API at `url` with a key. Close it when done."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=f"{url}/v1", headers=headers, timeout=60, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def voice_id(self) -> str:
        """The id of the account's first voice."""
        return str(self._json("GET", "/voices")["data"][0]["id"])

    def base_model_id(self) -> str:
        """The id of the shared model: the one that is not a voice."""
        listed = [str(model["id"]) for model in self._json("GET", "/models")["data"]]
        return next(name for name in listed if not name.startswith("voice-"))

    def add_sample(self, voice: str, piece: Piece) -> dict[str, Any]:
        """Give the voice one piece. Raises ApiRefusal with the reason when it can't be kept."""
        fields = {"title": piece.title, "prompt": piece.prompt, "written_on": piece.written_on}
        body = {"text": piece.text} | {name: value for name, value in fields.items() if value is not None}
        return self._json("POST", f"/voices/{voice}/samples", body)

    def start_training(self, voice: str) -> str:
        """Ask for training; the run's id."""
        return str(self._json("POST", f"/voices/{voice}/tuning_runs", {})["id"])

    def run(self, run: str) -> dict[str, Any]:
        """The run as it stands."""
        return self._json("GET", f"/tuning_runs/{run}")

    def events(self, run: str, after: int) -> list[dict[str, Any]]:
        """What happened in the run after event number `after`."""
        return list(self._json("GET", f"/tuning_runs/{run}/events?after={after}&limit=200")["data"])

    def stream(self, body: dict[str, Any]) -> Iterator[str]:
        """Pieces of text of a streamed completion. Raises ApiRefusal, also for an error in mid-stream."""
        with self._http.stream("POST", "/completions", json=body | {"stream": True}) as answer:
            if not answer.is_success:
                answer.read()
                raise _refusal(answer)
            for line in answer.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield _text_of(json.loads(line.removeprefix("data: ")))

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        while answer.status_code == TOO_MANY_REQUESTS and (pause := answer.headers.get("Retry-After")):
            time.sleep(float(pause))
            answer = self._http.request(method, path, json=body)
        if not answer.is_success:
            raise _refusal(answer)
        fields: dict[str, Any] = answer.json()
        return fields


def _text_of(chunk: dict[str, Any]) -> str:
    if "error" in chunk:
        raise ApiRefusal(500, str(chunk["error"]["message"]))
    return "".join(choice["text"] for choice in chunk["choices"])


def _refusal(answer: httpx.Response) -> ApiRefusal:
    try:
        return ApiRefusal(answer.status_code, str(answer.json()["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return ApiRefusal(answer.status_code, f"{answer.request.url.path} answered {answer.status_code}")
