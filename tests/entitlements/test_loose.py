"""What a process remembers of the catalogue and of tenants outlives whoever happened to read it first."""

import pytest

from shared.access import actions, policy
from shared.core.errors import Refused
from shared.entitlements import current, holdings
from tests.conftest import Cast, Person
from tests.entitlements import opening


async def refused(person: Person) -> None:
    """In a transaction that is rolled back, with all that it had read."""
    with pytest.raises(Refused):
        async with person.ctx() as ctx:
            policy.require(ctx, actions.MEMBER_INVITE, used=10_000)


async def test_what_a_refused_request_read_first_can_be_used_by_the_next(cast: Cast) -> None:
    key = await opening.flag(cast)
    await opening.say(cast, key, [{"kind": "everyone"}])  # so that everything is read anew
    current.forget()
    await refused(cast.ann)
    assert await opening.on(cast.ann, key)
    async with cast.gil.ctx() as ctx:
        known, catalogue = await holdings.facts(ctx)
        assert known.offer.key == "business"
        assert catalogue.flags[key].row.title == "Trying it"


async def test_the_same_tenant_in_another_state_is_read_from_what_is_kept(cast: Cast) -> None:
    current.forget(cast.acme)
    await refused(cast.ann)
    kept = current._kept[cast.acme]
    assert current.compiled_of(kept.facts, kept.catalogue, "suspended").verdicts
