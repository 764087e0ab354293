"""The writing page: one prompt, two columns, the base model's and the person's own, each streamed by the gateway."""

import json
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app import auth
from app.web import gateway
from app.web.session import find_me, me, sign_in_required, storage, token
from storage import base_models, voices

write = Blueprint("write", __name__)
LENGTHS = {"short": 40, "medium": 120, "long": 300}  # tokens
DEFAULT_TEMPERATURE = 0.8
MAX_TEMPERATURE = 2.0
MAX_PROMPT_CHARS = 20_000


@write.before_request
def guard() -> ResponseReturnValue | None:
    """Signed-in people only; the script is told so in a way that it can show without losing the prompt."""
    if find_me() is None and request.endpoint == "write.stream":
        return gateway.refusal(401, "You were signed out. Sign in again in another tab; your prompt is still here.")
    return sign_in_required()


@dataclass(frozen=True)
class Wish:
    """What the form asks for. Raises ValueError with a sentence for whoever filled it in."""

    voice_id: str
    column: str
    prompt: str
    max_tokens: int
    temperature: float
    seed: int

    @classmethod
    def from_form(cls) -> "Wish":
        """Read and check the form."""
        prompt = request.form.get("prompt", "")
        if not prompt.strip():
            raise ValueError("Write a few words to begin with.")
        if len(prompt) > MAX_PROMPT_CHARS:
            raise ValueError(f"The beginning may hold {MAX_PROMPT_CHARS:,} characters; this has {len(prompt):,}.")
        length = request.form.get("length", "medium")
        if length not in LENGTHS:
            raise ValueError("Choose short, medium or long.")
        temperature = request.form.get("temperature", DEFAULT_TEMPERATURE, type=float)
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise ValueError(f"Temperature goes from 0 to {MAX_TEMPERATURE:g}.")
        column = request.form.get("column", "")
        if column not in ("base", "mine"):
            raise ValueError("Ask for the column base or mine.")
        seed = request.form.get("seed", 0, type=int)
        return cls(request.form.get("voice_id", ""), column, prompt, LENGTHS[length], temperature, seed)

    def for_model(self, model: str) -> dict[str, Any]:
        """The body of a /v1/completions request."""
        return {
            "model": model,
            "prompt": self.prompt,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stream": True,
        }


@write.get("/voices/<voice_id>/write")
def page(voice_id: str) -> ResponseReturnValue:
    """The prompt and the two columns."""
    with storage().database.reading() as session:
        voice = voices.get_voice(session, me().id, voice_id)
        mine = voices.list_voices(session, me().id)
        base = base_models.current(session)
    return render_template(
        "write.html", voice=voice, voices=mine, base=base, lengths=LENGTHS, temperature=DEFAULT_TEMPERATURE
    )


@write.post("/write/stream")
def stream() -> ResponseReturnValue:
    """One column, as the API streams it."""
    try:
        wish = Wish.from_form()
    except ValueError as wrong:
        return gateway.refusal(400, str(wrong))
    with storage().database.reading() as session:
        voice = voices.get_voice(session, me().id, wish.voice_id)
        base = base_models.current(session)
    if wish.column == "base" and base is None:
        return gateway.refusal(503, "The base model has not started yet. Try again in a minute.")
    model = voice.id if wish.column == "mine" or base is None else base.name
    bearer = auth.issue_gateway_token(storage(), user_id=me().id, session_token=token())
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    return gateway.forward("POST", "/v1/completions", headers, json.dumps(wish.for_model(model)).encode())
