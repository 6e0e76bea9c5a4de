"""Password rules and hashes; a missing account takes as long as a wrong password."""

import statistics
import time

import pytest

from shared.identity import passwords

GOOD = "seven lanterns over quiet water"


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("short", "at least 15 characters; this one has 5"),
        ("x" * 1_001, "at most 1,000 characters"),
        ("password123456!", "stolen passwords"),
        ("aaaaaaaaaaaaaaaaaaaa", "Try a short sentence"),
        ("harbour lanterns over quiet water", "Remove “harbour”"),
        ("HARBOUR lanterns over quiet water", "Remove “harbour”"),
        ("bulkhead lanterns over quiet water", "Remove “bulkhead”"),
    ],
)
async def test_weak_password_is_refused_with_a_message(password: str, message: str) -> None:
    (problem,) = await passwords.find_problems(password, ["Zoe Harbour", "zoe@harbour.test"])
    assert message in problem


async def test_strong_password_is_accepted_in_any_length_and_script() -> None:
    for password in (
        GOOD,
        GOOD * 20,
        "sieben Laternen über stillem Wasser",
        "七つの灯籠が静かな水の上にある夜に光る",
    ):
        assert await passwords.find_problems(password, ["Ann", "ann@acme.test"]) == []


async def test_password_hash_verifies_only_its_password() -> None:
    made = await passwords.hash_password(GOOD)
    assert "m=19456,t=2,p=1" in made
    assert not passwords.is_outdated(made)
    assert await passwords.verify_password(made, GOOD)
    assert not await passwords.verify_password(made, GOOD + " ")
    assert not await passwords.verify_password(None, GOOD)
    assert not await passwords.verify_password("not a hash", GOOD)


async def test_password_in_another_unicode_form_is_the_same() -> None:
    made = await passwords.hash_password("caf\u00e9 at the end of the pier")
    assert await passwords.verify_password(made, "cafe\u0301 at the end of the pier")


async def test_odd_password_input_is_refused() -> None:
    made = await passwords.hash_password(GOOD)
    for odd in ("", "\x00", "\ud800", "x" * 100_000):
        assert not await passwords.verify_password(made, odd)


async def test_missing_account_takes_as_long_as_a_wrong_password() -> None:
    """Both are measured in turns, so that other load on the machine affects both."""
    made = await passwords.hash_password(GOOD)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(15):
        for is_known in (True, False):
            began = time.perf_counter()
            await passwords.verify_password(made if is_known else None, "wrong")
            times[is_known].append(time.perf_counter() - began)
    is_known, unknown = (statistics.median(times[key]) for key in (True, False))
    assert 0.5 < is_known / unknown < 2
