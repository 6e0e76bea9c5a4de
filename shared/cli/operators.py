"""The first operator, and any other, from the command line of whoever runs the platform."""

from shared.identity import operators
from shared.tenancy import entry


async def reset(email: str) -> str:
    """What to tell the operator."""
    async with entry.enter_platform("command line") as octx:
        operator = await operators.get_by_email(octx, email)
        made = await operators.reset_access(octx, operator.id, reason="Reset from the command line")
    return (
        f"{made.operator.email} is signed out everywhere and enrols a new factor at the next sign-in."
        f" New password, shown once: {made.password}"
    )


async def create(email: str, role: str, name: str) -> str:
    """What to tell the new operator."""
    async with entry.enter_platform("command line") as octx:
        made = await operators.create(octx, email, role, name, reason="Created from the command line")
    return f"{made.operator.email} is an operator ({role}). First password, shown once: {made.password}"
