"""Requests that the base model makes: what is asked and kept, and whole runs on a tiny chat model and a database."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from storage import samples, tuning_runs
from storage.errors import LostLease
from storage.samples import Sample
from storage.store import Storage
from tests.factories import SAMPLE_TEXTS, claim_run
from tests.tiny_model import make_tiny, save_tiny
from tests.tuning.runs import QUICK, Asked, ask, published, wait_until
from tuning import made_prompts, trainer, tuning_job
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.errors import Stopped
from tuning.going_on import begin
from tuning.made_prompts import MOST_NEW_TOKENS, cleaned, make_missing, requests_for
from tuning.prefix import Prefix
from tuning.training_step import train_step
from tuning.tuning_job import tune
from tuning.workbench import Bench


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny(chat=True, dtype=torch.float32, seed=1)


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("chat"), seed=1, chat=True)


@pytest.fixture
def bench(storage: Storage, chat_folder: Path) -> Bench:
    config = TuningConfig(base_model=str(chat_folder), base_model_name="tiny", num_threads=1, lease_s=1.2)
    return Bench(storage, config, QUICK, worker="here:1", is_stopping=lambda: False)


@pytest.fixture
def asked(storage: Storage) -> Asked:
    return ask(storage, SAMPLE_TEXTS)


def kept(asked: Asked) -> list[Sample]:
    with asked.storage.database.session() as session:
        return samples.list_samples(session, asked.storage.keys, asked.user.id, asked.voice_id)


def set_prompt(asked: Asked, sample_id: str, prompt: str | None) -> None:
    with asked.storage.database.session() as session:
        samples.set_prompt(session, asked.storage.keys, asked.user.id, asked.voice_id, sample_id, prompt)


def ask_again(asked: Asked) -> Asked:
    with asked.storage.database.session() as session:
        run, _ = tuning_runs.request_run(session, user_id=asked.user.id, voice_id=asked.voice_id)
    return replace(asked, run_id=run.id)


def nothing(*_: object) -> None:
    """Neither stop nor tell."""


@pytest.mark.parametrize(
    ("answer", "request_"),
    [
        ("Write about the ferry.", "Write about the ferry."),
        ("\n\n  “Write about the ferry.”\nThe ferry was", "Write about the ferry."),
        ("**Request:** Write about the ferry.", "Write about the ferry."),
        ("The request: 'Describe it'", "Describe it"),
        ("- Prompt: Describe it \ufffd", "Describe it"),
        ("Ask\x00 twice\x1b", "Ask twice"),
        ("", None),
        (' \n ... \n""', None),
        ("The ferry was LATE again", None),
        ('"The ferry, was late again, and nobody minded', None),
        ("Write with these words: the ferry, the ferry, the ferry, the fer", "Write with these words: the ferry"),
        ("Write of rain and rain and Rain, too", "Write of rain, too"),
        ("Write of the very very late ferry", "Write of the very very late ferry"),
        ("Write with these words:", None),
        ("Write with these words: write with these words", None),
    ],
)
def test_of_an_answer_the_one_line_that_is_a_request_is_kept(answer: str, request_: str | None) -> None:
    assert cleaned(answer, SAMPLE_TEXTS[0]) == request_


def test_no_request_is_longer_than_a_persons_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_prompts, "MAX_PROMPT_CHARS", 20)
    assert cleaned("Write of a late ferry and of rain", SAMPLE_TEXTS[0]) == "Write of a late ferr"


def test_several_texts_at_once_get_what_each_would_get_alone_by_greedy_generation(base: BaseModel) -> None:
    texts = [SAMPLE_TEXTS[0], "漢字 and spoons. " * 2, SAMPLE_TEXTS[2]]
    assert requests_for(base, texts) == [requests_for(base, [text])[0] for text in texts]
    question = torch.tensor([made_prompts._question(base, texts[1])])
    written = base.model.generate(  # type: ignore[operator]
        question,
        attention_mask=torch.ones_like(question),
        do_sample=False,
        max_new_tokens=MOST_NEW_TOKENS,
        pad_token_id=0,
    )
    assert requests_for(base, texts)[1] == cleaned(base.decode(written[0, question.shape[1] :].tolist()), texts[1])


def test_the_question_fits_the_context_and_is_in_the_models_own_form(base: BaseModel) -> None:
    (ids,) = [made_prompts._question(base, "漢字 <|endoftext|> " * 5000)]
    assert 200 < len(ids) <= base.context_length - MOST_NEW_TOKENS
    assert base.tokenizer.decode(ids).startswith("<|user|>\n漢字 <|endoftext|> 漢字")
    assert base.tokenizer.decode(ids).endswith("Write the request alone.\n<|assistant|>\n")
    assert base.tokenizer.eos_token_id not in ids
    assert requests_for(replace(base, context_length=100), ["short"]) == [None]


def test_a_run_on_a_chat_model_makes_requests_keeps_them_marked_and_trains_on_them(
    bench: Bench, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    first = kept(asked)[0]
    set_prompt(asked, first.id, "What of the ferry?")
    with caplog.at_level(logging.DEBUG):
        tune(bench, asked.run_id)
    after = kept(asked)
    made = [sample.prompt for sample in after[1:]]
    assert asked.run().state == "succeeded"
    assert (after[0].prompt, after[0].prompt_made) == ("What of the ferry?", False)
    assert all(made)
    assert [sample.prompt_made for sample in after[1:]] == [True] * 4
    assert made == requests_for(bench.base, SAMPLE_TEXTS[1:])
    assert "Made requests for 4 pieces" in asked.messages()
    assert not any(str(prompt) in caplog.text or str(prompt) in "".join(asked.messages()) for prompt in made)
    if asked.run().published:
        assert isinstance(published(bench, asked), Prefix)
    again = ask_again(asked)
    held = claim_run(bench.storage, again.run())
    split = begin(bench, held, resumed=False).split
    for blocks in (split.train, split.stop, split.test):
        answers = [block for block in blocks if block.num_request]
        assert answers, "every set has the samples as answers to the requests that were made"
        assert all(bench.base.tokenizer.decode(block.token_ids).startswith("<|user|>\n") for block in answers)


def test_they_are_made_once_and_what_was_cleared_or_edited_stands(bench: Bench, asked: Asked) -> None:
    tune(bench, asked.run_id)
    first, second, *rest = kept(asked)
    set_prompt(asked, first.id, None)
    set_prompt(asked, second.id, "Mine.")
    again = ask_again(asked)
    tune(bench, again.run_id)
    after = kept(asked)
    assert again.run().state == "succeeded"
    assert [(sample.prompt, sample.prompt_made) for sample in after[:2]] == [(None, False), ("Mine.", False)]
    assert after[2:] == rest
    assert not any(message.startswith("Made") for message in again.messages())


def test_a_model_without_a_template_is_asked_nothing(storage: Storage, asked: Asked) -> None:
    held = claim_run(storage, asked.run())
    make_missing(make_tiny(), storage, held, check=nothing, note=nothing)
    assert [(sample.prompt, sample.prompt_made) for sample in kept(asked)] == [(None, False)] * 5


def test_what_a_person_sets_while_the_model_is_asked_is_not_overwritten(
    base: BaseModel, storage: Storage, asked: Asked
) -> None:
    held, told = claim_run(storage, asked.run()), list[str]()
    first = kept(asked)[0]
    tokens = counted(lambda number: set_prompt(asked, first.id, "Mine.") if number == 3 else None)
    make_missing(base, storage, held, check=tokens, note=told.append)
    assert (kept(asked)[0].prompt, kept(asked)[0].prompt_made) == ("Mine.", False)
    assert told == ["Made requests for 4 pieces"]


def test_others_go_on_training_while_requests_are_made(
    bench: Bench, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what breaks in their step is nobody's own fault: all go back into the queue, to be trained by themselves."""
    monkeypatch.setattr(made_prompts, "TEXTS_AT_ONCE", 1)
    monkeypatch.setattr(tuning_job, "LOOK_FOR_MORE_EVERY_S", 0.0)
    first, steps, made = ask(bench.storage, SAMPLE_TEXTS), list[int](), list[int]()

    def asked_again(*given: object) -> list[str | None]:
        made.append(len(steps))
        return requests_for(*given)  # type: ignore[arg-type]

    def step(*given: object) -> list[float]:
        steps.append(len(made))
        if len(made) == 2 * len(SAMPLE_TEXTS):
            raise RuntimeError("out of memory")
        return train_step(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(made_prompts, "requests_for", asked_again)
    monkeypatch.setattr(trainer, "train_step", step)
    tune(replace(bench, config=replace(bench.config, runs_together=2)), first.run_id)
    between = [later - earlier for earlier, later in pairwise(made[len(SAMPLE_TEXTS) :])]
    assert between == [1] * (len(SAMPLE_TEXTS) - 1)
    assert [one.run().state for one in (first, asked)] == ["queued", "queued"]


def test_a_stop_is_heard_between_two_tokens_and_what_was_made_stays(
    base: BaseModel, storage: Storage, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_prompts, "TEXTS_AT_ONCE", 1)
    held = claim_run(storage, asked.run())
    with pytest.raises(Stopped):
        make_missing(base, storage, held, check=stopping_at(MOST_NEW_TOKENS + 5), note=nothing)
    assert [sample.prompt_made for sample in kept(asked)] == [True, False, False, False, False]


def test_a_worker_that_has_lost_the_run_keeps_nothing(base: BaseModel, storage: Storage, asked: Asked) -> None:
    lost = claim_run(storage, asked.run(), lease_s=-1)
    claim_run(storage, asked.run())
    with pytest.raises(LostLease):
        make_missing(base, storage, lost, check=nothing, note=nothing)
    assert not any(sample.prompt for sample in kept(asked))


def test_a_run_that_is_cancelled_while_requests_are_made_ends_within_seconds(
    bench: Bench, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = threading.Event()

    def endless(*_: object, check: Callable[[], None], **__: object) -> None:
        asking.set()
        while True:
            check()

    monkeypatch.setattr(made_prompts, "continuations", endless)
    thread = threading.Thread(target=tune, args=(bench, asked.run_id))
    thread.start()
    assert asking.wait(20)
    with bench.storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=asked.user.id, run_id=asked.run_id, actor_id=asked.user.id)
    wait_until(lambda: asked.run().state == "cancelled", seconds=10)
    thread.join()


def counted(act: Callable[[int], None]) -> Callable[[], None]:
    """A check that calls `act` with how often it was called."""
    calls = [0]

    def check() -> None:
        calls[0] += 1
        act(calls[0])

    return check


def stopping_at(number: int) -> Callable[[], None]:
    def act(call: int) -> None:
        if call == number:
            raise Stopped("cancelled")

    return counted(act)
