"""Tables without row policies."""

import pytest

from shared.tenancy import member_repository
from tests.conftest import Cast


async def test_user_is_found_only_through_a_membership(cast: Cast) -> None:
    """The table of users is global and has no row policy."""
    async with cast.ann.ctx() as ctx:
        assert (await member_repository.get_user(ctx, cast.max.user_id)).name == "Max"
        with pytest.raises(AssertionError):
            await member_repository.get_user(ctx, cast.gil.user_id)
