from hypothesis import given
from hypothesis import strategies as st

from app.generation.fair_queue import FairQueue
from app.generation.sampling import SamplingParams
from app.generation.sequence import Sequence


def asked_by(owner: str) -> Sequence:
    return Sequence([5, 6], SamplingParams(temperature=0), None, room=8, owner=owner)


def served(queue: FairQueue) -> list[Sequence]:
    taken = []
    while first := queue.next:
        queue.take(first)
        taken.append(first)
    return taken


def test_owners_take_turns_and_each_is_served_in_the_order_of_asking() -> None:
    queue = FairQueue()
    flood = [asked_by("ann") for _ in range(4)]
    queue.extend(flood)
    others = [asked_by("bob"), asked_by("cyd"), asked_by("bob")]
    queue.extend(others)
    assert served(queue) == [flood[0], others[0], others[1], flood[1], others[2], flood[2], flood[3]]
    assert queue.next is None


def test_who_comes_late_waits_for_one_turn_of_each_other_owner_at_most() -> None:
    queue = FairQueue()
    queue.extend([asked_by("ann") for _ in range(1000)] + [asked_by("bob") for _ in range(1000)])
    late = asked_by("cyd")
    queue.extend([late])
    assert served(queue).index(late) == 2


def test_an_answer_whose_kin_is_reading_lets_others_go_first_and_keeps_its_turn() -> None:
    queue = FairQueue()
    reading, waits, other = asked_by("ann"), asked_by("ann"), asked_by("bob")
    reading.kin = waits.kin = [reading, waits]
    queue.extend([reading, waits, other])
    assert queue.next is reading
    queue.take(reading)
    reading.row = 0
    assert served(queue) == [other]
    reading.length += 1
    assert queue.next is waits, "all but the last token is there"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("ask", "take", "leave"))), max_size=40))
def test_nobody_is_lost_and_nobody_is_remembered(events: list[tuple[str, str]]) -> None:
    queue = FairQueue()
    waiting: list[Sequence] = []
    for owner, kind in events:
        own = [sequence for sequence in waiting if sequence.owner == owner]
        if kind == "ask":
            waiting.append(asked_by(owner))
            queue.extend(waiting[-1:])
        elif kind == "leave" and own:
            queue.remove(own[-1])
            waiting.remove(own[-1])
        elif kind == "take" and (first := queue.next):
            assert first is next(sequence for sequence in waiting if sequence.owner == first.owner)
            queue.take(first)
            waiting.remove(first)
        assert len(queue) == len(waiting)
        assert set(queue) == set(waiting)
        assert set(queue._of_owner) == {sequence.owner for sequence in waiting}
