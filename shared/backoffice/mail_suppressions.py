"""Addresses that get no more mail: operators read why, and lift it with a reason."""

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import mail_suppression_repository
from shared.backoffice.mail_suppression_repository import (
    SuppressedAddress as SuppressedAddress,  # pages read it
)
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.errors import NotFound
from shared.core.paging import Page, build_page, clamp_limit
from shared.identity import email_addresses


async def list_suppressed(
    octx: OperatorCtx, *, address: str = "", after: str = "", limit: int = 50
) -> Page[SuppressedAddress]:
    """Newest first. `address`: the whole address, "" for all. Raises Invalid for an unknown page."""
    policy.require_operator(octx, actions.OP_MAIL_READ)
    limit = clamp_limit(limit)
    addresses = await mail_suppression_repository.list_addresses(
        octx.session, address=email_addresses.normalise_for_lookup(address), after=after, limit=limit + 1
    )
    return build_page(addresses, limit=limit, cursor_of=mail_suppression_repository.get_cursor)


async def lift(octx: OperatorCtx, address: str, reason: Reason) -> None:
    """Mails are sent to this address again. Raises Invalid without a reason, NotFound."""
    policy.require_operator(octx, actions.OP_MAIL_LIFT)
    reason_text = use_reason(octx, reason)
    suppression = await mail_suppression_repository.delete_suppression(octx.session, address)
    if suppression is None:
        raise NotFound("This address isn’t suppressed.", "Reload the page.")
    audit_log.record_operator(
        octx,
        "mail.suppression_lifted",
        suppression.id,
        reason=reason_text,
        cause=suppression.cause.value,
        detail=suppression.detail,
    )
