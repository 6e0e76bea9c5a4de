"""What the policies cannot hide, because the table has none."""

import pytest

from shared.tenancy import repository
from tests.conftest import Cast


async def test_a_person_is_found_through_a_membership_only(cast: Cast) -> None:
    """People are in a table of everybody's."""
    async with cast.ann.ctx() as ctx:
        assert (await repository.get_person(ctx, cast.max.user_id)).name == "Max"
        with pytest.raises(AssertionError):
            await repository.get_person(ctx, cast.gil.user_id)
