"""Create an operator, or reset the access of one, from the command line."""

from shared.backoffice import operators
from shared.backoffice.reasons import state_reason
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
