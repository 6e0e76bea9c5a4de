"""A service account uses a seat only where the plan says so."""

from datetime import timedelta

import pytest

from shared.backoffice import tenant_access
from shared.core.db import now
from shared.core.errors import Refused
from shared.entitlements.limits import find_usage
from shared.tenancy import invitations, members, seats, service_accounts
from tests.conftest import Cast
from tests.files.test_exports import override


async def test_service_account_uses_no_seat_by_default(cast: Cast) -> None:
    await override(cast, tenant_access.override_limit, seats.SEAT_LIMIT, 3)  # Ann, Adam and Max have them
    async with cast.ann.ctx() as ctx:
        await service_accounts.create(ctx, "Importer", "member")
        assert await members.count_seats(ctx) == 3


async def test_service_account_uses_a_seat_where_the_plan_says_so(cast: Cast) -> None:
    before = now()
    await override(cast, tenant_access.override_feature, seats.ACCOUNT_FEATURE, True)
    await override(cast, tenant_access.override_limit, seats.SEAT_LIMIT, 4)
    async with cast.ann.ctx() as ctx:
        account = await service_accounts.create(ctx, "Importer", "member")
    async with cast.ann.ctx() as ctx:
        assert await members.count_seats(ctx) == 4
        usage = find_usage(seats.SEAT_LIMIT)
        assert usage is not None
        assert (await usage.at(ctx, before), await usage.at(ctx, now())) == (3, 4)
        (change,) = await usage.causes(ctx, before, now() + timedelta(seconds=1))
        assert change.text == "Importer was created."
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused) as second:
            await service_accounts.create(ctx, "Second", "member")
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused) as invited:
            await invitations.invite(ctx, "zoe@acme.test", "member")
    assert {second.value.reason, invited.value.reason} == {"limit_reached"}
    async with cast.ann.ctx() as ctx:
        await service_accounts.end(ctx, account.id)
        assert await members.count_seats(ctx) == 3
        await invitations.invite(ctx, "zoe@acme.test", "member")
