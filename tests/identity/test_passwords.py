"""Password rules and hashes; a missing account takes as long as a wrong password."""

import asyncio
import os
import statistics
import sys
import threading
import time
from functools import cache

import pytest

from shared.core.errors import Refused
from shared.identity import passwords
from tests import conftest

GOOD = "seven lanterns over quiet water"
# Passwords that cost a judge without bounds seconds, or minutes: each character may stand for several letters.
HOSTILE = (
    "4@8({[<369!1|/0o$5+7%2zZ" * 40,
    "4@8 (6{ 3 [<1!|/ 0 $5 +7 %2 " * 30,
    "@4!1|3$5+70(" * 80,
    "l1!|" * 250,
    "p@$$w0rd1!" * 100,
    "ab" * 500,
    " ".join("4@8({[<3"[: 1 + at % 8] for at in range(180)),
)
MAX_CPU_S = 0.5  # of one password; on an idle machine none takes a fifth of it


@pytest.fixture(autouse=True)
def product_hasher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", conftest.PRODUCT_HASHER)
    monkeypatch.setattr(passwords, "_dummy_hash", cache(passwords._dummy_hash.__wrapped__))


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("short", "at least 15 characters; this one has 5"),
        ("x" * 1_001, "at most 1,000 characters"),
        ("password123456!", "stolen passwords"),
        ("aaaaaaaaaaaaaaaaaaaa", "Try a short sentence"),
        ("password password", "Try a short sentence"),
        ("passwords password", "Try a short sentence"),
        ("princess football", "Try a short sentence"),
        ("iloveyou iloveyou iloveyou", "Try a short sentence"),
        ("qwertyuiop" * 3, "Try a short sentence"),
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
        "the cat sat on the mat",
        "correct horse battery staple",
        "xK9#mQ2$vL7@pR4!",
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


@pytest.mark.parametrize("password", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_password_costs_little(password: str) -> None:
    await passwords.find_problems(GOOD)  # loads the lists
    began = time.process_time()
    await passwords.find_problems(password[: passwords.MAX_LENGTH], ["Zoe Harbour", "zoe@harbour.test"])
    assert time.process_time() - began < MAX_CPU_S


async def test_judging_refuses_more_than_may_wait_and_delays_no_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, released = await passwords.hash_password(GOOD), threading.Event()
    monkeypatch.setattr(passwords, "_find_problems", lambda *_: [] if released.wait(30) else ["late"])
    waiting = [asyncio.create_task(passwords.find_problems(GOOD)) for _ in range(passwords.MAX_WAITING)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await passwords.find_problems(GOOD)
        assert (caught.value.http_status, caught.value.retry_after > 0) == (503, True)
        assert await passwords.verify_password(made, GOOD)  # by threads of its own
    finally:
        released.set()
    assert await asyncio.gather(*waiting) == [[]] * passwords.MAX_WAITING
    assert await passwords.find_problems(GOOD) == []


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own elsewhere")
async def test_passwords_are_hashed_behind_the_event_loop() -> None:
    def get_niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    for threads in (passwords._threads, passwords._judge):
        assert threads.submit(get_niceness).result() == passwords.NICENESS
    assert get_niceness() < passwords.NICENESS
