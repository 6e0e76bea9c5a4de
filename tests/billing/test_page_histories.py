"""What the page says before each click is what is charged, in random histories; each fault of former versions is noticed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import Cast
from tests.support.billing import memory_tenant, page_histories
from tests.support.billing.memory_tenant import Shelf
from tests.support.billing.page_mutants import CAUGHT_ELSEWHERE, MUTANTS
from tests.support.sizes import is_full, size

OF_A_MUTANT = 500
# Every third one, others each day, the same in every process of the run; `make test-long` plants all.
SHARE = 1 if is_full() else 3
MUTANTS_OF_RUN = list(MUTANTS)[datetime.now(UTC).toordinal() % SHARE :: SHARE]
FAULTS = 21
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def shelf(cast: Cast) -> Shelf:
    return await Shelf.read(cast.ann)


@pytest.fixture
def patch(shelf: Shelf) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        memory_tenant.install(patch)
        yield patch


async def test_page_says_what_is_charged_in_every_history(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    faults = [await page_histories.find_fault(seed, shelf) for seed in range(size("billing.page_histories"))]
    assert [fault for fault in faults if fault] == []


@pytest.mark.parametrize("name", MUTANTS_OF_RUN)
async def test_planted_fault_is_noticed_by_some_history(
    shelf: Shelf, patch: pytest.MonkeyPatch, name: str
) -> None:
    MUTANTS[name](patch)
    for seed in range(OF_A_MUTANT):
        if await page_histories.find_fault(seed, shelf):
            return
    pytest.fail(f"{OF_A_MUTANT} histories have not noticed it")


def test_each_fault_of_the_issue_is_planted_or_caught_by_a_test_that_exists() -> None:
    planted = {int(name.split()[0]) for name in MUTANTS if name[0].isdigit()}
    assert planted | set(CAUGHT_ELSEWHERE) == set(range(1, FAULTS + 1))
    for place in CAUGHT_ELSEWHERE.values():
        path, name = place.split("::")
        assert f"def {name}(" in (ROOT / path).read_text(), place
