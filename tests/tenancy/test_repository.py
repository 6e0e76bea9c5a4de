"""What the policies cannot hide, because the table has none."""

import pytest

from shared.tenancy import member_repository
from tests.conftest import Cast


async def test_a_person_is_found_through_a_membership_only(cast: Cast) -> None:
    """People are in a table of everybody's."""
    async with cast.ann.ctx() as ctx:
        assert (await member_repository.get_user(ctx, cast.max.user_id)).name == "Max"
        with pytest.raises(AssertionError):
            await member_repository.get_user(ctx, cast.gil.user_id)
