"""Create an operator, reset the access of one, and create and revoke API keys of operators, from the command line."""

from collections.abc import Sequence
from datetime import timedelta

from shared.backoffice import operator_keys, operators
from shared.backoffice.operator_keys import OperatorKeyRequest
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.tenancy import entry


async def reset_access(email: str) -> str:
    """Returns a text for the operator, with the new password."""
    async with entry.enter_platform("command line") as octx:
        operator = await operators.get_by_email(octx, email)
        access = await operators.reset_access(
            octx, operator.id, reason=state_reason(octx, "Reset from the command line")
        )
    return (
        f"{access.operator.email} is signed out everywhere and sets up a new second factor at the next sign-in."
        f" New password, shown once: {access.password}"
    )


async def create(email: str, role: str, name: str) -> str:
    """Returns a text for the new operator, with the first password."""
    async with entry.enter_platform("command line") as octx:
        access = await operators.create(
            octx, email, role, name, reason=state_reason(octx, "Created from the command line")
        )
    return f"{access.operator.email} is an operator ({role}). First password, shown once: {access.password}"


async def create_key(
    email: str, scopes: Sequence[str], *, name: str, days: int, networks: Sequence[str], reason: str
) -> str:
    """Returns a text for the operator, which ends with the key. `days`: until it expires; 0 for never."""
    async with entry.enter_platform("command line") as octx:
        request = OperatorKeyRequest(
            name=name,
            scopes=scopes,
            expires_at=now() + timedelta(days=days) if days else None,
            networks=networks,
        )
        created = await operator_keys.create_for(octx, email, request, state_reason(octx, reason))
    return f"{created.key.id} belongs to {created.key.operator_name}. The key, shown once: {created.text}"


async def revoke_key(operator_key_id: str, *, reason: str) -> str:
    async with entry.enter_platform("command line") as octx:
        await operator_keys.revoke(octx, operator_key_id, state_reason(octx, reason))
    return f"{operator_key_id} is revoked: requests from now on are refused."
