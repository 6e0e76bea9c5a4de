"""What people promised ends with what they may do: the one place that asks every module for it.

Members call it where a membership ends or its role changes, roles where a permission is taken from a role.
"""

from collections.abc import Collection

from shared.core import registry
from shared.core.context import Ctx


async def end_promises(
    ctx: Ctx, user_ids: Collection[str], permissions: frozenset[str] = frozenset()
) -> None:
    """Ends what these people have promised and may no longer promise, in the transaction that ends their rights.

    `permissions`: those that they still have here; none once the membership has ended. Needs the membership lock.
    """
    for module in registry.list_modules():
        if user_ids and module.on_membership_end is not None:
            await module.on_membership_end(ctx, user_ids, permissions)
