"""Cached catalogue and rights outlive the request that read them."""

import pytest

from shared.access import actions, policy
from shared.core.errors import Refused
from shared.entitlements import assignments, rights_cache
from tests.conftest import Cast, Person
from tests.support.entitlements import flag_fixtures


async def cause_refusal(person: Person) -> None:
    """The transaction is rolled back with everything it had read."""
    with pytest.raises(Refused):
        async with person.ctx() as ctx:
            policy.require(ctx, actions.MEMBER_INVITE, used=10_000)


async def test_catalogue_read_by_a_refused_request_serves_the_next(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    await flag_fixtures.change_rules(cast, key, [{"kind": "everyone"}])  # so that everything is read anew
    rights_cache.invalidate()
    await cause_refusal(cast.ann)
    assert await flag_fixtures.has_flag(cast.ann, key)
    async with cast.gil.ctx() as ctx:
        snapshot, catalogue = await assignments.get_snapshot(ctx)
        assert snapshot.offer.key == "business"
        assert catalogue.flags[key].flag.title == "Trying it"


async def test_rights_of_another_tenant_state_are_computed_from_the_cache(cast: Cast) -> None:
    rights_cache.invalidate(cast.acme)
    await cause_refusal(cast.ann)
    entitlements = rights_cache._cache[cast.acme].tenant.entitlements
    assert rights_cache.compute_rights(entitlements.snapshot, entitlements.catalog, "suspended").verdicts
