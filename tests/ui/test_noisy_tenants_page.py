"""The page *Noisy tenants*: a row opens a dialog that limits its tenant, and members see why."""

from typing import Any

import pytest

from admin_app.pages.noisy_tenants import NoisyTenantsState, noisy_tenants_page
from shared.core import tenant_limits, tenant_load
from shared.core.errors import Invalid
from shared.fairness import load_recorder, throttle_watch
from tenant_app.shell import Shell
from tests.conftest import Cast

WORDS = "Your importer sends every row in a request of its own."


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    tenant_limits.clear()
    tenant_load.take_loads()


def handler(name: str) -> Any:
    return NoisyTenantsState.event_handlers[name].fn


async def open_page(cast: Cast, dialog: str) -> NoisyTenantsState:
    page = cast.olga.opens(NoisyTenantsState, path="/noisy-tenants")
    async with page._ctx() as octx:
        await page._read(octx)
    await handler("open_dialog")(page, dialog, cast.acme)
    return page


async def test_limit_is_set_shown_to_members_and_ended(cast: Cast) -> None:
    tenant_load.count_request(cast.acme)
    tenant_load.add_database_seconds(cast.acme, 1_000_000.0)
    await load_recorder.record()
    page = await open_page(cast, "throttle")
    assert page.subject.id == cast.acme
    await handler("throttle_tenant")(page, {"percent": "10", "minutes": "60", "reason": WORDS})
    assert page.dialog == ""
    assert next(row.throttle for row in page.rows if row.id == cast.acme) == "10 % of its rate"
    await throttle_watch.refresh()
    shell = cast.ann.opens(Shell)
    await Shell.event_handlers["refresh"].fn(shell)
    assert WORDS in shell.throttle
    assert "10 % of its usual rate until" in shell.throttle
    page = await open_page(cast, "end")
    await handler("end_throttle")(page, {"reason": "The importer was corrected."})
    await throttle_watch.refresh()
    await Shell.event_handlers["refresh"].fn(shell)
    assert shell.throttle == ""


async def test_choices_that_are_not_in_the_list_are_refused(cast: Cast) -> None:
    page = cast.olga.opens(NoisyTenantsState, path="/noisy-tenants")
    for name, value in (("choose_range", "9999"), ("choose_order", "name; drop")):
        with pytest.raises(Invalid):
            await handler(name).__wrapped__(page, value)
    await handler("choose_order")(page, "waiting")
    assert page.loaded


def test_page_can_be_drawn() -> None:
    assert "noisy-tenants" in str(noisy_tenants_page().render())
