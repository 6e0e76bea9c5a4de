"""Endpoints: who may register which events where, and what becomes of the secret."""

from datetime import timedelta

import pytest

from shared.audit import audit_log
from shared.backoffice import key_renewal
from shared.core.db import now
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound, Refused
from shared.core.rate_limits import RateLimit
from shared.outbound_webhooks import deliveries, endpoints
from shared.outbound_webhooks.models import EndpointState, PauseReason
from shared.tenancy import entry, roles, tenant_secrets
from tests.conftest import Cast, Person
from tests.support import database, factories

URL = "https://hooks.example.com/acme"
REMOVED, BILLING = "member.removed", "billing.status_changed"


async def add_endpoint(person: Person, *event_types: str) -> endpoints.IssuedSecret:
    async with person.ctx() as ctx:
        return await endpoints.create(ctx, URL, "", event_types or (REMOVED,))


@pytest.fixture
async def integrator(cast: Cast) -> Person:
    """Carl, whose role manages webhooks and sees no bill."""
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Integrator", "", ["webhook:read", "webhook:write", "member:read"])
    await factories.join_tenant(cast.ann.account, cast.ann.slug, cast.carl.account, role.key)
    return cast.carl


async def test_create_returns_a_secret_that_is_stored_sealed(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    assert issued.secret.startswith("whsec_")
    assert issued.secret not in repr(issued)
    (stored,) = (
        database.connect()
        .execute("select secret from webhook_endpoint where id = %s", [issued.endpoint.id])
        .fetchall()
    )
    assert issued.secret.encode() not in bytes(stored[0])


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "http://[::]/",
        "https://localhost/",
        "https://hooks.example.com:8443/",
        "https://user@hooks.example.com/",
        "",
        "https://hooks.example.com/" + "x" * 500,
    ],
)
async def test_create_is_refused_when_the_address_is_not_public_https(cast: Cast, url: str) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid) as refusal:
            await endpoints.create(ctx, url, "", [REMOVED])
        assert set(refusal.value.fields) == {"url"}
        assert await endpoints.list_endpoints(ctx) == []


@pytest.mark.parametrize("names", [(), ("member.unknown",), ("webhook.test",)])
async def test_create_is_refused_without_events_that_exist(cast: Cast, names: tuple[str, ...]) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await endpoints.create(ctx, URL, "", names)


async def test_create_is_refused_for_a_member(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused):
            await endpoints.create(ctx, URL, "", [REMOVED])


async def test_create_is_refused_when_the_actor_lacks_the_permission_of_an_event(
    cast: Cast, integrator: Person
) -> None:
    async with integrator.ctx() as ctx:
        with pytest.raises(Refused) as refusal:
            await endpoints.create(ctx, URL, "", [REMOVED, BILLING])
    assert refusal.value.reason == "missing_permission"
    await add_endpoint(integrator, REMOVED)


async def test_endpoint_with_other_events_is_managed_only_with_their_permission(
    cast: Cast, integrator: Person
) -> None:
    """Or somebody could turn events that they can't read to an address of their own."""
    issued = await add_endpoint(cast.ann, BILLING)
    endpoint_id = issued.endpoint.id
    async with integrator.ctx() as ctx:
        (view,) = await endpoints.list_endpoints(ctx)
        assert not view.can_manage
        for attempt in (
            endpoints.change(ctx, endpoint_id, URL, description="", event_types=[REMOVED], version=None),
            endpoints.rotate_secret(ctx, endpoint_id),
            endpoints.send_test(ctx, endpoint_id),
            endpoints.pause(ctx, endpoint_id),
        ):
            with pytest.raises(Refused):
                await attempt


async def test_endpoint_of_another_tenant_is_not_found(cast: Cast) -> None:
    issued = await add_endpoint(cast.gil)
    async with cast.ann.ctx() as ctx:
        for attempt in (
            endpoints.get_endpoint(ctx, issued.endpoint.id),
            endpoints.rotate_secret(ctx, issued.endpoint.id),
            endpoints.delete(ctx, issued.endpoint.id),
            deliveries.list_deliveries(ctx, issued.endpoint.id),
        ):
            with pytest.raises(NotFound):
                await attempt


async def test_create_is_refused_when_the_tenant_has_too_many(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 2)
    await add_endpoint(cast.ann)
    await add_endpoint(cast.ann)
    with pytest.raises(Conflict):
        await add_endpoint(cast.ann)


async def test_change_is_refused_when_another_person_changed_it_meanwhile(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    endpoint_id, version = issued.endpoint.id, issued.endpoint.version
    async with cast.ann.ctx() as ctx:
        await endpoints.change(
            ctx, endpoint_id, URL, description="One", event_types=[REMOVED], version=version
        )
    async with cast.adam.ctx() as ctx:
        with pytest.raises(ChangedMeanwhile):
            await endpoints.change(
                ctx, endpoint_id, URL, description="Two", event_types=[REMOVED], version=version
            )


async def test_pause_and_resume_change_the_state(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    async with cast.ann.ctx() as ctx:
        paused = await endpoints.pause(ctx, issued.endpoint.id)
        with pytest.raises(Conflict):
            await endpoints.send_test(ctx, issued.endpoint.id)
        resumed = await endpoints.resume(ctx, issued.endpoint.id)
    assert (paused.state, paused.pause_reason) == (EndpointState.PAUSED, PauseReason.MEMBER)
    assert resumed.state is EndpointState.ACTIVE
    async with cast.ann.ctx() as ctx:
        newest, before = (await audit_log.list_events(ctx, limit=2)).rows
    assert (newest.action, before.action) == ("webhook.resumed", "webhook.paused")


async def test_delete_erases_the_secrets(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    async with cast.ann.ctx() as ctx:
        await endpoints.rotate_secret(ctx, issued.endpoint.id)
        await endpoints.delete(ctx, issued.endpoint.id)
    rows = database.connect().execute(
        "select secret, previous_secret from webhook_endpoint where id = %s", [issued.endpoint.id]
    )
    assert rows.fetchall() == [(None, None)]
    async with cast.ann.ctx() as ctx:
        with pytest.raises(NotFound):
            await endpoints.get_endpoint(ctx, issued.endpoint.id)


async def test_rotation_is_refused_when_the_overlap_is_too_long(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await endpoints.rotate_secret(ctx, issued.endpoint.id, overlap=timedelta(days=2))


async def list_signing_secrets(
    person: Person, endpoint_id: str, *, later: timedelta = timedelta()
) -> list[str]:
    """Those that sign, now or so much later."""
    async with person.ctx() as ctx:
        row = await endpoints.lock_managed(ctx, endpoint_id, endpoints.actions.WEBHOOK_CHANGE)
        key = await tenant_secrets.read_key(ctx)
        return endpoints.unseal_secrets(ctx, key, row, at=now() + later)


async def rotate(person: Person, endpoint_id: str, overlap: timedelta = endpoints.OVERLAP) -> str:
    async with person.ctx() as ctx:
        return (await endpoints.rotate_secret(ctx, endpoint_id, overlap=overlap)).secret


async def test_deployed_secret_signs_until_its_overlap_ends_when_the_answer_of_a_rotation_was_lost(
    cast: Cast,
) -> None:
    """Nobody knows the second one; whoever rotates again has the first one in the receiver still."""
    issued = await add_endpoint(cast.ann)
    second = await rotate(cast.ann, issued.endpoint.id, timedelta(hours=2))
    third = await rotate(cast.ann, issued.endpoint.id)
    assert await list_signing_secrets(cast.ann, issued.endpoint.id) == [third, second, issued.secret]
    later = timedelta(hours=3)
    assert await list_signing_secrets(cast.ann, issued.endpoint.id, later=later) == [third, second]
    assert await list_signing_secrets(cast.ann, issued.endpoint.id, later=2 * endpoints.OVERLAP) == [third]


async def test_third_rotation_in_one_overlap_is_refused_with_a_next_step(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    second, third = [await rotate(cast.ann, issued.endpoint.id) for _ in range(2)]
    with pytest.raises(Conflict) as refusal:
        await rotate(cast.ann, issued.endpoint.id)
    assert "without an overlap" in refusal.value.next_step
    assert await list_signing_secrets(cast.ann, issued.endpoint.id) == [third, second, issued.secret]
    last = await rotate(cast.ann, issued.endpoint.id, timedelta())
    assert await list_signing_secrets(cast.ann, issued.endpoint.id) == [last]


async def test_rotations_in_separate_overlaps_keep_one_secret_each(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    second = issued.secret
    for _ in range(3):
        first, second = second, await rotate(cast.ann, issued.endpoint.id)
        assert await list_signing_secrets(cast.ann, issued.endpoint.id) == [second, first]
        database.connect().execute("update webhook_endpoint set previous_secret_ends_at = now()")


async def test_look_ups_of_hosts_are_limited_for_each_tenant(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin(person: Person) -> None:
        async with person.ctx() as ctx:
            await endpoints.begin_url_check(ctx, URL)

    for _ in range(RateLimit.WEBHOOK_HOST_TENANT.parsed.amount):
        await begin(cast.ann)
    with pytest.raises(Refused) as refusal:
        await begin(cast.ann)
    assert (refusal.value.reason, bool(refusal.value.retry_after)) == ("rate_limited", True)
    await begin(cast.gil)


async def test_look_up_is_refused_for_a_member(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused) as refusal:
            await endpoints.begin_url_check(ctx, URL)
    assert refusal.value.reason == "missing_permission"


async def test_host_in_punycode_is_stored_as_it_is_called(cast: Cast) -> None:
    """A name in letters becomes Punycode; Punycode that is none stays as it is, and is no error of ours."""
    async with cast.ann.ctx() as ctx:
        for url, stored in (
            ("https://münchen.example/a", "https://xn--mnchen-3ya.example/a"),
            ("https://xn--zz--a.example/a", "https://xn--zz--a.example/a"),
        ):
            issued = await endpoints.create(ctx, url, "", [REMOVED])
            assert issued.endpoint.url == stored


async def test_endpoint_is_managed_only_with_the_permission_of_its_undelivered_events(
    cast: Cast, integrator: Person
) -> None:
    """Or somebody could turn events that they can't read, and that wait still, to an address of their own."""
    issued = await add_endpoint(cast.ann, BILLING, REMOVED)
    endpoint_id = issued.endpoint.id
    async with cast.ann.ctx() as ctx:
        delivery_id = await endpoints.send_test(ctx, endpoint_id)
        await endpoints.change(ctx, endpoint_id, URL, description="", event_types=[REMOVED], version=None)
    set_delivery = "update webhook_delivery set event_type = %s, status = %s where id = %s"
    database.connect().execute(set_delivery, [BILLING, "failed", delivery_id])
    async with integrator.ctx() as ctx:
        for attempt in (
            endpoints.change(ctx, endpoint_id, URL, description="", event_types=[REMOVED], version=None),
            endpoints.rotate_secret(ctx, endpoint_id),
            endpoints.resume(ctx, endpoint_id),
            deliveries.replay_failed(ctx, endpoint_id, now() - timedelta(days=1)),
        ):
            with pytest.raises(Refused):
                await attempt
    database.connect().execute(set_delivery, [BILLING, "delivered", delivery_id])
    async with integrator.ctx() as ctx:
        await endpoints.change(ctx, endpoint_id, URL, description="", event_types=[REMOVED], version=None)


async def test_secret_opens_after_the_key_of_the_tenant_was_renewed(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    async with entry.enter_platform("a test") as octx:
        assert await key_renewal.renew_tenant_key(octx, cast.acme) >= 1
    async with cast.ann.ctx() as ctx:
        row = await endpoints.lock_managed(ctx, issued.endpoint.id, endpoints.actions.WEBHOOK_CHANGE)
        key = await tenant_secrets.read_key(ctx)
        assert endpoints.unseal_secrets(ctx, key, row, at=row.created_at) == [issued.secret]


async def test_delivery_is_read_only_with_the_permission_of_its_event(cast: Cast, integrator: Person) -> None:
    issued = await add_endpoint(cast.ann, BILLING)
    async with cast.ann.ctx() as ctx:
        delivery_id = await endpoints.send_test(ctx, issued.endpoint.id)
    database.connect().execute(
        "update webhook_delivery set event_type = %s where id = %s", [BILLING, delivery_id]
    )
    async with integrator.ctx() as ctx:
        (delivery,) = (await deliveries.list_deliveries(ctx, issued.endpoint.id)).rows
        assert not delivery.is_readable
        with pytest.raises(Refused):
            await deliveries.get_delivery(ctx, delivery_id)
        with pytest.raises(Refused):
            await deliveries.replay(ctx, delivery_id)


async def test_replay_is_refused_while_the_event_is_under_way(cast: Cast) -> None:
    issued = await add_endpoint(cast.ann)
    async with cast.ann.ctx() as ctx:
        delivery_id = await endpoints.send_test(ctx, issued.endpoint.id)
        with pytest.raises(Conflict):
            await deliveries.replay(ctx, delivery_id)
