"""`python -m benchmarks.latency`: time to first token and between tokens at several loads, cold prefixes beside warm
ones, and what a prompt that fills the context does to everybody else.

The API role runs as the platform runs it (gunicorn, SQLite, a cache server, the configured base model); this process
asks over HTTP. Requests arrive at random times, whatever the answers take (an open loop). How many a second is told as
a share of what the API gets through with a full batch, measured first. At each load the arrivals are mixed at random:
people who spoke before ("warm"), people whose prefix this process never had, in Redis ("cold_redis"), and such in the
database alone ("cold_database"). The API's log proves where each prefix was found.

cold_…_steps_pN: what being cold adds at that percentile. Every time to first token is told in decode steps of its load
(the median time between tokens there), from the median warm one of the same load on; the loads' are pooled; and from
the Nth percentile of the cold ones that of the warm ones is taken, which stands beside it as warm_steps_pN: a tail that
warm requests have too is not a cold prefix's doing.

gap_ratio_long_prompt_p99: the p99 of the times between tokens of steady streams that overlap with the reading of a long
prompt, in units of their median time when there is none.

Progress on stderr; the last line on stdout is one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.api_process import ApiProcess
from benchmarks.long_prompts import Gaps, disturb
from benchmarks.open_loop import COLD_DATABASE, COLD_REDIS, KINDS, WARM, Load, capacity, run
from benchmarks.other_load import OtherLoad
from benchmarks.registered_users import Person, register, shared_prefix
from benchmarks.statistics import median, percentile, percentile_difference
from storage import prefixes
from tuning.base_model import load_base_model
from tuning.config import TuningConfig

Row = dict[str, Any]
PERCENTILES = (50, 95, 99)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    config = TuningConfig.from_env()
    base = load_base_model(config)
    stored, vocabulary = shared_prefix(base, config), base.model.get_input_embeddings().num_embeddings
    longest = base.context_length - 1 - stored.num_virtual_tokens
    configuration = {"base_model": base.name, "device": str(base.device), "context_length": base.context_length}
    configuration |= {"num_virtual_tokens": stored.num_virtual_tokens, "stored_prefix_bytes": len(stored.data)}
    del base
    torch.cuda.empty_cache()
    needed = options.warm + 2 * options.cold * len(options.loads)
    with ApiProcess() as api:
        people = register(api.storage, stored, needed, needed)
        drawn = random.Random(options.seed)
        drawn.shuffle(people)
        warm, fresh = people[: options.warm], people[options.warm :]
        others = OtherLoad()
        per_second = asyncio.run(capacity(api, warm, options.batch, options.tokens))
        _tell(f"with {options.batch} at once: {per_second:.2f} answers a second")
        loads: list[Load] = []
        for share in options.loads:
            cold, fresh = fresh[: 2 * options.cold], fresh[2 * options.cold :]
            loads.append(_at_load(api, warm, cold, share * per_second, options, drawn))
            _tell(f"load {share}: {_row(loads[-1])}")
        prompt = [drawn.randrange(2, vocabulary) for _ in range(longest)]
        gaps = asyncio.run(disturb(api, warm, options.streams, prompt, options.long_prompts, drawn))
        configuration |= {"others_busy_cores": others.cores()}
    configuration |= {"cores": os.cpu_count(), "torch": torch.__version__, "answers_per_second": round(per_second, 2)}
    configuration |= vars(options)
    printed = headline(loads, gaps) | {
        "loads": {str(share): _row(load) for share, load in zip(options.loads, loads, strict=True)},
        "long_prompts": gaps.row() | {"tokens": longest},
        "configuration": configuration,
    }
    print(json.dumps(printed))


def _at_load(
    api: ApiProcess, warm: Sequence[Person], cold: Sequence[Person], rate: float, options: Any, drawn: random.Random
) -> Load:
    in_redis, in_database = cold[: options.cold], cold[options.cold :]
    for person in in_redis:
        prefixes.warm_cache(api.storage, person.user_id)
    arrivals = [(COLD_REDIS, person) for person in in_redis] + [(COLD_DATABASE, person) for person in in_database]
    arrivals += [(WARM, drawn.choice(warm)) for _ in range(2 * options.cold)]
    drawn.shuffle(arrivals)
    return asyncio.run(run(api, arrivals, rate, options.tokens, drawn))


def headline(loads: Sequence[Load], gaps: Gaps) -> Row:
    """What the command is run for."""
    steps = {kind: [one for load in loads for one in load.steps(kind)] for kind in KINDS}
    told: Row = {}
    for kind in (COLD_REDIS, COLD_DATABASE):
        for part in PERCENTILES:
            name = f"{kind}_steps_p{part}"
            told[name], *told[f"{name}_interval_95"] = percentile_difference(steps[kind], steps[WARM], part)
    told |= {f"{WARM}_steps_p{part}": round(percentile(steps[WARM], part), 3) for part in PERCENTILES}
    return told | {"gap_ratio_long_prompt_p99": gaps.ratio_p99}


def _row(load: Load) -> Row:
    first = {kind: [answer.first_token_s for answer in load.answers[kind]] for kind in KINDS}
    return {
        "arrivals_per_second": round(load.rate, 3),
        "step_ms": round(1000 * load.step_s, 2),
        "first_token_ms": {kind: _milliseconds(seconds) for kind, seconds in first.items()},
        "between_tokens_ms": _milliseconds(load.gaps_s),
        "answers": {kind: len(seconds) for kind, seconds in first.items()},
        "tokens_an_answer": median([len(answer.token_at) for kind in KINDS for answer in load.answers[kind]]),
    }


def _milliseconds(seconds: Sequence[float]) -> Row:
    return {f"p{part}": round(1000 * percentile(seconds, part), 2) for part in PERCENTILES}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--loads", type=_shares, default=[0.2, 0.4, 0.6], help="shares of what a full batch gets through, with commas"
    )
    parser.add_argument("--cold", type=int, default=100, help="people of each cold kind at each load; warm: twice that")
    parser.add_argument("--warm", type=int, default=32, help="people who spoke before")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer, at most")
    parser.add_argument("--batch", type=int, default=32, help="answers at once when the capacity is measured")
    parser.add_argument("--streams", type=int, default=16, help="steady streams that the long prompts disturb")
    parser.add_argument("--long-prompts", type=int, default=20, help="how many of them arrive, one after the other")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def _shares(text: str) -> list[float]:
    return [float(share) for share in text.split(",")]


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
