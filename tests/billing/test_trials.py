"""Trials once for each person and each payment card, whoever owns which organisation."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlmodel import select

from shared.audit import audit_log
from shared.backoffice import trial_grants
from shared.backoffice.reasons import state_reason
from shared.billing import tasks, trial_repository, trials
from shared.billing.models import BillingSubscription
from shared.billing.provider import ProviderRefused
from shared.billing.subscriptions import checkout
from shared.core import db, rows
from shared.core.errors import Conflict
from shared.core.ids import new_id
from shared.jobs.worker import ExternalJob
from shared.tenancy import members, notifications
from tenant_app.pages.billing.plan_rows import plan_rows, trial_note
from tests.billing.test_selling import BUSINESS, get_overview
from tests.conftest import Cast, Person
from tests.support import database, factories, workers
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider


@pytest.fixture
async def seller(schema: str) -> AsyncIterator[MemoryProvider]:
    workers.clear_queue(schema)
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


@pytest.fixture
def number() -> str:
    """Of a card that no other test has paid with."""
    return new_id("card")


async def found_organisation(person: Person, name: str = "Harbour") -> Person:
    """The same person in another organisation, which is new."""
    tenant = await factories.create_tenant(person.account, name)
    return Person(person.account, tenant.slug)


async def order(person: Person, *, expects_trial: bool | None = None) -> str:
    async with person.ctx() as ctx:
        request = await checkout.prepare(ctx, BUSINESS, "month", seats=3, expects_trial=expects_trial)
    return await checkout.submit(request)


async def subscribe(seller: MemoryProvider, person: Person, *, number: str = "", card: bool = True) -> str:
    """Id of the subscription, after the webhook was processed."""
    deal = seller.pay(await order(person), card=card, number=number)
    await shared_provider.return_from_provider(person)
    return deal


async def run_end_jobs(name: str) -> None:
    """Runs the jobs that end trials, and leaves the mails."""
    connection = database.connect(name)
    query = "delete from procrastinate_jobs where task_name = %s returning args ->> 'tenant_id', args ->> 'subscription_id'"
    for tenant_id, subscription_id in connection.execute(query, [trials.END_TASK]).fetchall():
        await tasks.end_trial(ExternalJob(tenant_id, ""), subscription_id=subscription_id)


async def get_trial_obstacle(person: Person) -> trials.TrialObstacle:
    return (await get_overview(person)).trial_obstacle


async def get_verdict(person: Person) -> str:
    async with person.ctx() as ctx:
        (row,) = await rows.all(
            ctx, select(BillingSubscription).where(BillingSubscription.tenant_id == ctx.tenant_id)
        )
    return row.trial_verdict


async def test_person_with_a_trial_gets_none_in_another_organisation(
    cast: Cast, seller: MemoryProvider, number: str
) -> None:
    second = await found_organisation(cast.gil)
    assert await get_trial_obstacle(second) == ""
    deal = await subscribe(seller, cast.gil)
    assert seller.deals[deal].state == "trial"
    assert await get_trial_obstacle(second) == "own"
    second_deal = await subscribe(seller, second, number=number)
    assert seller.deals[second_deal].state == "running"


async def test_page_says_before_the_click_that_there_is_no_trial(cast: Cast, seller: MemoryProvider) -> None:
    second = await found_organisation(cast.gil)
    billing = await get_overview(second)
    assert "each person and each payment card once" in trial_note(billing)
    assert [row.action_label for row in plan_rows(billing, "month", "") if row.id == BUSINESS] == [
        "Try Business for 14 days"
    ]
    await subscribe(seller, cast.gil)
    billing = await get_overview(second)
    assert "already had one" in trial_note(billing)
    state = plan_rows(billing, "month", "")
    assert [(row.action_label, row.has_trial) for row in state if row.id == BUSINESS] == [
        ("Choose Business", False)
    ]


async def test_other_members_are_not_told_of_another_organisation(cast: Cast, seller: MemoryProvider) -> None:
    """An owner has had a trial elsewhere; the member isn't one there."""
    second = await found_organisation(cast.gil)
    await factories.join_tenant(cast.gil.account, second.slug, cast.carl.account, "billing")
    await subscribe(seller, cast.gil)
    admin = Person(cast.carl.account, second.slug)
    billing = await get_overview(admin)
    assert billing.trial_obstacle == "other"
    assert "Globex" not in trial_note(billing)
    assert cast.gil.name not in trial_note(billing)


async def test_order_is_refused_when_the_promised_trial_is_gone(cast: Cast, seller: MemoryProvider) -> None:
    second = await found_organisation(cast.gil)
    await order(cast.gil, expects_trial=True)
    with pytest.raises(Conflict, match="no longer available") as caught:
        await order(second, expects_trial=True)
    assert "Reload the page" in caught.value.next_step


async def test_trial_of_an_abandoned_checkout_is_free_again_after_an_hour(
    cast: Cast, seller: MemoryProvider
) -> None:
    second = await found_organisation(cast.gil)
    await order(cast.gil)
    assert await get_trial_obstacle(second) == "own"
    assert await get_trial_obstacle(cast.gil) == ""  # its own reservation
    database.connect().execute(
        "update trial_claim set reserved_until = reserved_until - interval '61 minutes'"
    )
    assert await get_trial_obstacle(second) == ""


async def test_trial_with_a_card_that_has_had_one_is_ended_and_charged_at_once(
    cast: Cast, seller: MemoryProvider, number: str, schema: str
) -> None:
    await subscribe(seller, cast.gil, number=number)
    deal = await subscribe(seller, cast.ann, number=number)
    assert (seller.deals[deal].state, await get_verdict(cast.ann)) == ("trial", "card")
    await run_end_jobs(schema)
    assert seller.deals[deal].state == "running"
    assert [bill.state for bill in seller.transactions.values() if bill.deal == deal] == ["settled"]
    async with cast.ann.ctx() as ctx:
        (event,) = [
            event
            for event in (await audit_log.list_events(ctx, limit=100)).rows
            if event.action == "billing.trial_refused"
        ]
        titles = [notification.title for notification in await notifications.list_my_notifications(ctx)]
        assert ctx.rights.billing_status == "active"
    assert event.details == {"cause": "card"}
    assert "Your subscription starts without a trial" in titles
    held = (await get_overview(cast.ann)).subscription
    assert held is not None
    assert held.snapshot.status == "active"


async def test_refused_trial_without_a_card_that_pays_ends(
    cast: Cast, seller: MemoryProvider, number: str, schema: str
) -> None:
    await subscribe(seller, cast.gil, number=number)
    deal = await subscribe(seller, cast.ann, number=number, card=False)
    await run_end_jobs(schema)
    assert seller.deals[deal].state == "over"
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.billing_status == "none"


async def test_card_that_is_added_during_a_trial_is_judged_too(
    cast: Cast, seller: MemoryProvider, number: str
) -> None:
    await subscribe(seller, cast.gil, number=number)
    deal = seller.pay(await order(cast.ann), card=None)
    await shared_provider.return_from_provider(cast.ann)
    assert await get_verdict(cast.ann) == "", "there is no card to judge yet"
    seller.buyers[seller.deals[deal].buyer].card_number = number
    seller.set_card(seller.deals[deal].buyer, pays=True)
    await shared_provider.return_from_provider(cast.ann)
    assert await get_verdict(cast.ann) == "card"


async def test_accepted_trial_goes_on_through_later_syncs(
    cast: Cast, seller: MemoryProvider, number: str, schema: str
) -> None:
    deal = await subscribe(seller, cast.gil, number=number)
    await shared_provider.return_from_provider(cast.gil)
    await run_end_jobs(schema)
    assert (seller.deals[deal].state, await get_verdict(cast.gil)) == ("trial", "accepted")


async def test_two_organisations_of_one_person_at_once_have_one_trial(
    cast: Cast, seller: MemoryProvider, schema: str
) -> None:
    """Both pages promise one; both are ordered, paid and synced at the same time."""
    places = [cast.gil, await found_organisation(cast.gil), await found_organisation(cast.gil, "Haven")]
    urls = await asyncio.gather(*(order(place) for place in places))
    deals = [seller.pay(url) for url in urls]
    assert sum(seller.deals[deal].state == "trial" for deal in deals) == 1
    await asyncio.gather(*(shared_provider.return_from_provider(place) for place in places))
    await run_end_jobs(schema)
    assert sum(seller.deals[deal].state == "trial" for deal in deals) == 1


async def test_trial_paid_after_its_reservation_has_ended_is_ended_by_the_sync(
    cast: Cast, seller: MemoryProvider, schema: str
) -> None:
    second = await found_organisation(cast.gil)
    url = await order(cast.gil)
    database.connect().execute(
        "update trial_claim set reserved_until = reserved_until - interval '61 minutes'"
    )
    other_deal = await subscribe(seller, second)
    late_deal = seller.pay(url)
    await shared_provider.return_from_provider(cast.gil)
    await run_end_jobs(schema)
    assert [seller.deals[deal].state for deal in (other_deal, late_deal)] == ["trial", "running"]


async def test_former_owner_has_used_the_trial_of_the_organisation(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe(seller, cast.ann)
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query="adam")).rows
        await members.transfer_ownership(ctx, row.id, "Acme")
    second = await found_organisation(cast.ann)
    assert await get_trial_obstacle(second) == "own"


async def test_setting_allows_more_trials(
    cast: Cast, seller: MemoryProvider, number: str, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_TRIALS_PER_PERSON", "2")
    second, third = await found_organisation(cast.gil), await found_organisation(cast.gil, "Haven")
    await subscribe(seller, cast.gil)
    await subscribe(seller, second, number=number)
    assert await get_verdict(second) == "accepted"
    assert await get_trial_obstacle(third) == "own"


async def test_setting_of_zero_leaves_trials_to_operators(
    cast: Cast, seller: MemoryProvider, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_TRIALS_PER_PERSON", "0")
    assert await get_trial_obstacle(cast.gil) == "own"


async def grant_trial(cast: Cast, tenant_id: str) -> None:
    async with cast.olga.octx() as octx:
        await trial_grants.grant_trial(
            octx, tenant_id, state_reason(octx, "Ticket 4471", tenant_id=tenant_id)
        )


async def test_operator_grants_another_trial_once(
    cast: Cast, seller: MemoryProvider, number: str, schema: str
) -> None:
    second = await found_organisation(cast.gil)
    await subscribe(seller, cast.gil, number=number)
    async with second.ctx() as ctx:
        tenant_id = ctx.tenant_id
    await grant_trial(cast, tenant_id)
    with pytest.raises(Conflict, match="another trial already"):
        await grant_trial(cast, tenant_id)
    assert await get_trial_obstacle(second) == ""
    deal = await subscribe(seller, second, number=number)
    await shared_provider.return_from_provider(second)
    await run_end_jobs(schema)
    assert (seller.deals[deal].state, await get_verdict(second)) == ("trial", "accepted")
    with pytest.raises(Conflict, match="has a subscription"):
        await grant_trial(cast, tenant_id)


async def test_old_claims_and_reservations_without_a_trial_are_deleted(cast: Cast) -> None:
    connection = database.connect()
    connection.execute(
        "insert into trial_claim (tenant, kind, holder, claimed_at, reserved_until) values"
        " (%(tenant)s, 'person', 'old', now() - interval '3 years 1 hour', null),"
        " (%(tenant)s, 'person', 'kept', now() - interval '2 years', null),"
        " (%(tenant)s, 'person', 'lapsed', now() - interval '2 days', now() - interval '25 hours'),"
        " (%(tenant)s, 'person', 'late', now() - interval '2 days', now() - interval '23 hours')",
        {"tenant": cast.acme},
    )
    async with db.transaction() as session:
        await trial_repository.delete_old_claims(session)
    query = "select holder from trial_claim where tenant = %s and holder in ('old', 'kept', 'lapsed', 'late')"
    assert sorted(row[0] for row in connection.execute(query, [cast.acme]).fetchall()) == ["kept", "late"]


async def test_fingerprint_is_stored_only_as_a_keyed_hash(
    cast: Cast, seller: MemoryProvider, number: str
) -> None:
    await subscribe(seller, cast.gil, number=number)
    (row,) = database.connect().execute(
        "select holder from trial_claim where kind = 'card' and tenant = %s", [cast.globex]
    )
    assert number not in row[0]
    tables = (
        database.connect()
        .execute(
            "select (select string_agg(state::text, '') from billing_subscription)"
            " || (select string_agg(s::text, '') from billing_snapshot s)"
            " || (select string_agg(e::text, '') from billing_event e)"
        )
        .fetchone()
    )
    assert tables is not None
    assert number not in tables[0]


async def test_refused_trial_without_a_payment_method_ends(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = await subscribe(seller, cast.gil)

    async def end_trial(subscription_id: str, key: str) -> None:
        raise ProviderRefused("No such payment method.", "resource_missing")

    monkeypatch.setattr(seller, "end_trial", end_trial)
    await trials.execute_end(deal)
    assert seller.deals[deal].state == "over"


async def test_app_cannot_read_who_has_had_a_trial(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        connection = await session.connection()
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(text("select * from trial_claim"))


async def test_claim_without_a_tenant_is_refused(cast: Cast) -> None:
    values = {"persons": [], "card": "", "max_trials": 1, "reserved_for": None, "is_granted": False}
    async with db.transaction() as session:
        connection = await session.connection()
        with pytest.raises(DBAPIError, match="a trial is claimed by a tenant"):
            await connection.execute(trial_repository.CLAIM, values)
