"""Sealing: only the right key and the right place open; derived keys tell nothing of one another."""

import pytest

from storage import crypto
from storage.errors import IntegrityError

KEY = bytes(range(32))


def test_what_is_sealed_opens_for_the_same_key_and_place() -> None:
    sealed = crypto.seal(KEY, "für Ännchen".encode(), "prefix", "user-a", "1")
    assert crypto.unseal(KEY, sealed, "prefix", "user-a", "1").decode() == "für Ännchen"


def test_sealing_twice_gives_different_bytes() -> None:
    assert crypto.seal(KEY, b"x") != crypto.seal(KEY, b"x")


@pytest.mark.parametrize(
    "place", [("prefix", "user-b", "1"), ("prefix", "user-a"), ("prefixuser-a", "1"), ("prefix", "user-a1", ""), ()]
)
def test_another_place_does_not_open(place: tuple[str, ...]) -> None:
    sealed = crypto.seal(KEY, b"secret", "prefix", "user-a", "1")
    with pytest.raises(IntegrityError):
        crypto.unseal(KEY, sealed, *place)


def test_another_key_does_not_open() -> None:
    with pytest.raises(IntegrityError):
        crypto.unseal(bytes(32), crypto.seal(KEY, b"secret"))


def test_one_changed_bit_anywhere_is_noticed() -> None:
    sealed = crypto.seal(KEY, b"secret", "here")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(IntegrityError):
            crypto.unseal(KEY, bytes(changed), "here")


@pytest.mark.parametrize("length", [0, 1, 12, 28])
def test_cut_bytes_are_refused(length: int) -> None:
    with pytest.raises(IntegrityError):
        crypto.unseal(KEY, crypto.seal(KEY, b"secret")[:length])


def test_each_purpose_has_a_key_of_its_own_that_stays_the_same() -> None:
    purposes = ("web session", "gateway", "first administrator")
    keys = {crypto.derive(KEY, purpose) for purpose in purposes}
    assert len(keys | {KEY}) == 4
    assert {len(key) for key in keys} == {32}
    assert crypto.derive(KEY, "gateway") == crypto.derive(bytes(range(32)), "gateway")
    # A change of these bytes would sign everybody out and lock every account: pin one.
    assert crypto.derive(KEY, "gateway").hex() == "95ea40c4149996c60380f13f3375e00a7c7da5e01407d0368fc6b661e4df3cf8"
