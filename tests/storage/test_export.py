"""Everything of one person, in the form that the schema says, and back in again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from storage import (
    api_keys,
    export,
    export_bounds,
    export_format,
    quotas,
    reimport,
    reports,
    sample_changes,
    samples,
    text_intake,
    trials,
    uploads,
    usage,
    voices,
)
from storage.config import StorageConfig
from storage.errors import InvalidExport, KeyErased, LimitReached
from storage.models import User, Voice
from storage.remarks import Part, Remarks
from storage.sample_rows import Sample
from storage.store import Storage
from tests import factories

ROOT = Path(export_format.__file__).resolve().parent.parent
QUOTED = "> You never answer.\n\nI answer when the kettle does, and the kettle has its own hours this winter."
FILE = json.dumps({"text": factories.SAMPLE_TEXTS[1]}).encode()


def full(storage: Storage) -> tuple[User, Voice]:
    """A person with something of everything."""
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    version = factories.publish(storage, user, voice, b"the prefix")
    with storage.database.session() as session:
        reports.add_report(session, storage.keys, user.id, version.run_id, {"neutral_rise_pct": 0.5})
        key, _ = api_keys.create_key(session, user.id, "laptop", ["read"])
        usage.add(session, {usage.Place(user.id, usage.today(), key.id, voice.id): usage.Counts(1, 2, 3)})
        uploads.add_upload(session, storage.keys, user_id=user.id, data=FILE, filename="letters.jsonl")
        trials.choose(session, user.id, trials.begin_trial(session, user.id, voice.id, against=None).id, None)
        ids = samples.included_ids(session, user.id, voice.id)
        samples.set_included(session, user.id, voice.id, ids[1], False)
        samples.set_prompt(session, storage.keys, user.id, voice.id, ids[2], "What about the roof?")
        samples.set_prompt(session, storage.keys, user.id, voice.id, ids[3], None)  # none is wanted
        samples.set_made_prompt(session, storage.keys, user.id, ids[4], "Describe a shop.")
        sample_changes.describe(
            session, storage.keys, user.id, voice.id, ids[0], title="Überfahrt", written_on="2024-05-31"
        )
        parts = (Part("quote", "> You never answer.", True), Part("", QUOTED.split("\n\n")[1], False))
        remarks = Remarks(source="a.eml", parts=parts, repeats="a" * 64, share=0.5, language="de", expected="en")
        drafts = [text_intake.draft(QUOTED.split("\n\n")[1])]
        samples.add_drafts(
            session, storage.keys, user_id=user.id, voice_id=voice.id, drafts=drafts, noticed=[remarks], waiting=True
        )
    factories.add_samples(storage, user, factories.make_voice(storage, user, "Minutes"), factories.SAMPLE_TEXTS[:2])
    return user, voice


def exported(storage: Storage, user: User) -> dict[str, bytes]:
    return dict(export.entries(storage, user.id))


def bring_in(storage: Storage, user: User, files: dict[str, bytes]) -> reimport.Brought:
    found = reimport.read(files)
    with storage.database.session() as session:
        return reimport.bring_in(session, storage.keys, user.id, found)


def writing(storage: Storage, user: User) -> dict[str, list[Sample]]:
    """voice name -> its samples, without what is another's id, time or mac."""
    with storage.database.reading() as session:
        return {
            voice.name: [
                replace(
                    sample,
                    id="",
                    created_at=0.0,
                    content_mac="",
                    remarks=replace(sample.remarks, repeats=None, share=0.0),
                )
                for sample in samples.list_samples(session, storage.keys, user.id, voice.id)
            ]
            for voice in voices.list_voices(session, user.id)
        }


def test_the_schema_in_the_documentation_is_that_of_the_code() -> None:
    kept = json.loads((ROOT / "docs" / "export-1.schema.json").read_text(encoding="utf-8"))
    assert kept == export_format.schema(), "run `python -m storage.export_format > docs/export-1.schema.json`"
    jsonschema.Draft202012Validator.check_schema(kept)


def validate(kind: str, found: Any) -> None:
    schema = export_format.schema()
    jsonschema.validate(found, {**schema, "$ref": f"#/$defs/{kind}"}, cls=jsonschema.Draft202012Validator)


def test_every_file_of_it_is_as_the_schema_says(storage: Storage) -> None:
    user, voice = full(storage)
    files = exported(storage, user)
    assert json.loads(files["schema.json"]) == export_format.schema()
    validate("Manifest", json.loads(files["manifest.json"]))
    validate("Account", json.loads(files["account.json"]))
    for path, content in files.items():
        if path.endswith("voice.json"):
            validate("Voice", json.loads(content))
        if path.endswith("samples.jsonl"):
            for line in content.splitlines():
                validate("Sample", json.loads(line))
    with pytest.raises(jsonschema.ValidationError):
        validate("Sample", {"id": "x"})
    assert len([path for path in files if path.startswith(f"voices/{voice.id}/")]) == 3


def test_all_that_is_kept_is_in_it_and_nobody_elses(storage: Storage) -> None:
    user, voice = full(storage)
    other = factories.make_user(storage, "bob@example.org")
    factories.publish(storage, other, factories.first_voice(storage, other), b"their prefix")
    files = exported(storage, user)
    account = json.loads(files["account.json"])
    assert (account["id"], account["email"]) == (user.id, user.email)
    assert [(key["name"], key["scopes"]) for key in account["keys"]] == [("laptop", ["read"])]
    assert [(row["key"], row["requests"]) for row in account["usage"]] == [("laptop", 1)]
    assert files[f"files/{account['files'][0]['id']}.jsonl"] == FILE
    made = json.loads(files[f"voices/{voice.id}/voice.json"])
    assert files[f"voices/{voice.id}/version-1.safetensors"] == b"the prefix"
    assert made["versions"][0]["report"] == {"neutral_rise_pct": 0.5}
    assert made["versions"][0]["figures"]["reduction_pct"] == 4.5
    assert made["runs"][0]["state"] == "succeeded"
    assert len(made["runs"][0]["events"]) > 2
    assert [vote["choice"] for vote in made["votes"]] == ["neither"]
    everything = b"".join(files.values())
    assert b"their prefix" not in everything
    assert other.id.encode() not in everything
    assert b"argon2" not in everything


def test_what_was_exported_comes_back_as_it_was_and_coming_twice_adds_nothing(storage: Storage) -> None:
    user, _ = full(storage)
    files, fresh = exported(storage, user), factories.make_user(storage)
    assert bring_in(storage, fresh, files) == reimport.Brought(new_voices=1, new_samples=8, known_samples=0)
    assert writing(storage, fresh) == writing(storage, user)
    assert bring_in(storage, fresh, files) == reimport.Brought(new_voices=0, new_samples=0, known_samples=8)
    assert writing(storage, fresh) == writing(storage, user)
    again = exported(storage, fresh)
    texts = {path.split("/")[2]: b"" for path in again if path.startswith("voices/")}
    assert set(texts) == {"voice.json", "samples.jsonl"}


def test_for_which_no_request_is_to_be_made_none_is_made_after_coming_back(storage: Storage) -> None:
    user, voice = full(storage)
    fresh = factories.make_user(storage)
    bring_in(storage, fresh, exported(storage, user))

    def awaiting(person: User, voice: Voice) -> int:
        with storage.database.reading() as session:
            ids = [sample.id for sample in samples.list_samples(session, storage.keys, person.id, voice.id)]
            return len(samples.awaiting_prompt(session, storage.keys, person.id, ids))

    assert awaiting(fresh, factories.first_voice(storage, fresh)) == awaiting(user, voice) == 3


def spoiled(files: dict[str, bytes], name: str) -> tuple[dict[str, bytes], str]:
    """The export with one thing wrong, and what is to be said of it."""
    lines = next(path for path in sorted(files, reverse=True) if path.endswith("samples.jsonl"))
    voice = lines.replace("samples.jsonl", "voice.json")

    def line(**change: object) -> bytes:
        first, *rest = files[lines].splitlines()
        return b"\n".join((*rest, json.dumps({**json.loads(first), **change}).encode()))

    match name:
        case "no manifest":
            return {path: files[path] for path in files if path != "manifest.json"}, "manifest.json is missing"
        case "another's manifest":
            return files | {"manifest.json": b'{"format": "other"}'}, "manifest.json"
        case "a list":
            return files | {"manifest.json": b"[]"}, "manifest.json"
        case "a later version":
            later = {**json.loads(files["manifest.json"]), "version": 2}
            return files | {"manifest.json": json.dumps(later).encode()}, "of a version"
        case "no JSON":
            return files | {lines: files[lines] + b"{oh"}, "line"
        case "no text":
            return files | {lines: line(text=7)}, r"samples\.jsonl, line \d+: text"
        case "something more":
            return files | {lines: line(extra=1)}, r"samples\.jsonl, line \d+: extra"
        case "too short":
            return files | {lines: line(text="Short.")}, r"samples\.jsonl, line \d+: .*too short"
        case "a wrong date":
            return files | {lines: line(written_on="yesterday")}, "date"
        case "a nameless voice":
            return files | {voice: json.dumps({**json.loads(files[voice]), "name": " "}).encode()}, "no name"
        case "a voice that is none":
            return files | {voice: b"{}"}, "voice.json: name"
        case "too many samples":
            return files | {lines: files[lines].splitlines()[0] + b"\n{}" * samples.MAX_SAMPLES}, "501 samples"
        case "too many voices":
            more = {voice.replace("voice-", f"voice-{number}"): files[voice] for number in range(reimport.MOST_VOICES)}
            return files | more, "202 voices"
        case "many small parts":
            part = {"kind": "", "text": "a", "out": False}
            return files | {lines: line(notes={"parts": [part] * (export_bounds.MOST_PARTS + 1)})}, "5,000 noted parts"
        case "much structure in a sample":
            return files | {lines: line(extra=[[]] * export_bounds.MOST_LINE_VALUES)}, "5,000 noted parts"
        case "much structure in a voice":
            many = {**json.loads(files[voice]), "runs": [[]] * export_bounds.MOST_VOICE_VALUES}
            return files | {voice: json.dumps(many).encode()}, "voice.json: .* empty its lists"
        case "a long voice.json":
            return files | {
                voice: files[voice] + b" " * export_bounds.MOST_VOICE_BYTES
            }, "voice.json: .* empty its lists"
        case "a long manifest":
            padded = files["manifest.json"] + b" " * export_bounds.MOST_MANIFEST_BYTES
            return files | {"manifest.json": padded}, "manifest.json"
        case "long notes":
            long = {"kind": "", "text": "a" * (reimport.MOST_NOTED_CHARS + 1), "out": False}
            return files | {lines: line(notes={"parts": [long]})}, "notes may have"
        case "a long source":
            return files | {lines: line(notes={"source": "a" * 301})}, "notes may have"
        case "empty lines":
            return files | {lines: b"\n" * 10_000}, "10,000 samples"
        case "a deep manifest":
            return files | {"manifest.json": b"[" * 100_000}, "manifest.json"
        case _:
            return {"manifest.json": files["manifest.json"]}, "no writing"


SPOILED = ("no manifest", "another's manifest", "a list", "a later version", "no JSON", "no text", "something more")
SPOILED += ("too short", "a wrong date", "a nameless voice", "a voice that is none", "nothing")
SPOILED += ("much structure in a sample", "much structure in a voice", "a long voice.json", "a long manifest")
SPOILED += ("many small parts", "long notes", "a long source", "empty lines")
SPOILED += ("too many samples", "too many voices", "a deep manifest")


def test_one_bad_line_anywhere_and_nothing_is_brought_in(storage: Storage) -> None:
    user, _ = full(storage)
    files, fresh = exported(storage, user), factories.make_user(storage)
    before = writing(storage, fresh)
    for name in SPOILED:
        bad, says = spoiled(files, name)
        with pytest.raises(InvalidExport, match=says):
            bring_in(storage, fresh, bad)
    assert writing(storage, fresh) == before


@pytest.mark.parametrize("bound", ["MOST_BYTES", "MOST_VALUES"])
def test_more_than_is_read_at_once_is_brought_in_by_parts(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    user, voice = full(storage)
    files, fresh = exported(storage, user), factories.make_user(storage)
    read = {path: content for path, content in files.items() if reimport.wants(path)}
    del read["manifest.json"]
    counted = {"MOST_BYTES": len, "MOST_VALUES": lambda content: export_bounds.values(content, 10_000)}[bound]
    size = sum(map(counted, read.values()))
    monkeypatch.setattr(export_bounds, bound, size - 1)
    with pytest.raises(InvalidExport, match="Leave some of the folders"):
        bring_in(storage, fresh, files)
    for others in (True, False):
        part = {path: content for path, content in files.items() if (voice.id not in path) == others}
        bring_in(storage, fresh, part | {"manifest.json": files["manifest.json"]})
    assert writing(storage, fresh) == writing(storage, user)


def test_what_a_text_says_counts_as_one_value_however_it_looks(storage: Storage) -> None:
    user = factories.make_user(storage)
    text = '"[{,\\"' * (text_intake.MAX_CHARS // 6)
    factories.add_samples(storage, user, factories.first_voice(storage, user), [text])
    files, fresh = exported(storage, user), factories.make_user(storage)
    assert bring_in(storage, fresh, files).new_samples == 1
    assert writing(storage, fresh) == writing(storage, user)


def test_a_voice_of_many_long_trainings_is_read(storage: Storage) -> None:
    user, voice = full(storage)
    files, path = exported(storage, user), f"voices/{voice.id}/voice.json"
    made = json.loads(files[path])
    (run,), (version,) = made["runs"], made["versions"]
    ids = [voice.id] * samples.MAX_SAMPLES
    run |= {"sample_ids": ids, "events": run["events"][:1] * 240}
    version |= {"trained_sample_ids": ids}
    made |= {"runs": [run] * 40, "versions": [version] * 40}
    files[path] = export_format.Voice.model_validate(made).model_dump_json(indent=2).encode()
    assert bring_in(storage, factories.make_user(storage), files).new_samples == 8


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (rb'{"a": [1, 2], "b": "c,[{"}', 7),
        (rb'"\\" , "\"," , "', 5),
        (b'"open\n[],\n"\\\n[]', 5),
        (b"[[],[],[]]", 6),
        (b'"' + b'\\"' * 3_000_000, 1),
        (b"", 0),
    ],
)
def test_values_are_counted_outside_strings(data: bytes, number: int) -> None:
    assert export_bounds.values(data, 100) == number
    assert export_bounds.values(data, 3) == min(number, 4)


def test_more_than_fits_brings_in_nothing(storage: Storage) -> None:
    user, _ = full(storage)
    fresh = factories.make_user(storage)
    for number in range(StorageConfig.quota_voices - 1):
        factories.make_voice(storage, fresh, f"Voice {number}")
    before = writing(storage, fresh)
    with pytest.raises(LimitReached):
        bring_in(storage, fresh, exported(storage, user))
    assert writing(storage, fresh) == before


def test_nothing_can_be_exported_once_the_key_is_gone(storage: Storage) -> None:
    user, _ = full(storage)
    storage.keys.erase(user.id)
    with pytest.raises(KeyErased):
        exported(storage, user)


def test_an_import_keeps_to_the_account_s_quota(storage: Storage) -> None:
    user, _ = full(storage)
    files, fresh = exported(storage, user), factories.make_user(storage)
    with storage.database.session() as session:
        quotas.set_own(session, fresh.id, {"samples": 1}, actor_id=fresh.id)
    before = writing(storage, fresh)
    with pytest.raises(LimitReached, match="1 sample "):
        bring_in(storage, fresh, files)
    assert writing(storage, fresh) == before
