"""What the page says before each click is what is charged, in random histories; each fault of former versions is noticed."""

from collections.abc import Iterator

import pytest

from tests.conftest import Cast
from tests.support.billing import memory_tenant, page_histories
from tests.support.billing.memory_tenant import Shelf
from tests.support.billing.page_mutants import MUTANTS
from tests.support.sizes import size

OF_A_MUTANT = 500


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


@pytest.mark.parametrize("name", MUTANTS)
async def test_planted_fault_is_noticed_by_some_history(
    shelf: Shelf, patch: pytest.MonkeyPatch, name: str
) -> None:
    MUTANTS[name](patch)
    for seed in range(OF_A_MUTANT):
        if await page_histories.find_fault(seed, shelf):
            return
    pytest.fail(f"{OF_A_MUTANT} histories have not noticed it")
