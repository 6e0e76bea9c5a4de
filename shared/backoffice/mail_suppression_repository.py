"""SQL of suppressed addresses, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.paging import after_cursor, encode_cursor
from shared.jobs.models import MailSuppression, SuppressionCause, UnsentMail

NEWEST = (col(MailSuppression.suppressed_at), col(MailSuppression.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressedAddress:
    address: str
    cause: SuppressionCause
    detail: str  # in the mail provider's words
    suppressed_at: datetime
    unsent_count: int  # mails that were withheld in the last 90 days
    last_unsent_template: str  # "" for none


async def list_addresses(
    session: AsyncSession, *, address: str, after: str, limit: int
) -> Sequence[SuppressedAddress]:
    """Newest first. `address`: "" for all. Raises Invalid for an unknown page."""
    unsent = (
        select(func.count())
        .where(UnsentMail.address == MailSuppression.id)
        .correlate(MailSuppression)
        .scalar_subquery()
    )
    last_template = (
        select(UnsentMail.template)
        .where(UnsentMail.address == MailSuppression.id)
        .order_by(col(UnsentMail.withheld_at).desc())
        .limit(1)
        .correlate(MailSuppression)
        .scalar_subquery()
    )
    statement = (
        select(MailSuppression, unsent, last_template)
        .where(*([MailSuppression.id == address] if address else []))
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return [
        SuppressedAddress(
            address=row.id,
            cause=row.cause,
            detail=row.detail,
            suppressed_at=row.suppressed_at,
            unsent_count=unsent_count or 0,
            last_unsent_template=template or "",
        )
        for row, unsent_count, template in (await session.exec(statement)).all()
    ]


def get_cursor(suppressed: SuppressedAddress) -> str:
    return encode_cursor(suppressed.suppressed_at, suppressed.address)


async def delete_suppression(session: AsyncSession, address: str) -> MailSuppression | None:
    """The deleted row; None for an address that isn't suppressed. Of two who lift it, one gets it."""
    statement = delete(MailSuppression).where(col(MailSuppression.id) == address).returning(MailSuppression)
    return (await session.exec(statement)).scalar_one_or_none()
