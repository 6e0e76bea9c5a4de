"""The demo cast's API keys, for the look of their page. Their secrets are thrown away."""

from datetime import timedelta

from shared.access.permissions import Permission
from shared.api_keys import keys
from shared.api_keys.keys import KeyRequest
from shared.core.context import Ctx
from shared.core.db import now
from shared.tenancy import key_entry, service_accounts

IMPORT_ADDRESS = "203.0.113.7"


async def create_keys(ctx: Ctx) -> str:
    """A service account with a key, and a key of the actor. Returns the secret of the first one.

    Returns "" where the tenant has keys or had some.
    """
    if (await keys.list_keys(ctx, limit=1)).rows:
        return ""
    account = await service_accounts.create(ctx, "Data import", "member")
    created = await keys.create(
        ctx,
        KeyRequest(name="Nightly import", scopes=[Permission.MEMBER_READ], service_account_id=account.id),
    )
    await keys.create(
        ctx,
        KeyRequest(
            name="Reporting script",
            scopes=[Permission.AUDIT_READ, Permission.MEMBER_READ, Permission.REPORT_READ],
            expires_at=now() + timedelta(days=90),
            networks=["198.51.100.0/24"],
        ),
    )
    return created.text


async def use_key(secret: str) -> None:
    """As a program does."""
    await key_entry.authenticate_key(secret, address=IMPORT_ADDRESS)
