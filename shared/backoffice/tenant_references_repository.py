"""SQL that finds tenants by what support is told of them: ids at the payment provider, invoices, requests, API keys.

It reads across tenants, in a transaction with a reason. Each statement is answered by an index.
"""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import union
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import decision_records
from shared.access.models import DecisionRecord
from shared.audit.models import AuditEvent
from shared.billing.models import BillingCustomer, BillingInvoice, BillingSubscription
from shared.core import ids
from shared.tenancy.models import Tenant

MAX_TENANTS = 50
PROVIDER_ID = re.compile(r"[A-Za-z]{2,20}_[A-Za-z0-9_]{1,100}")
INVOICE_NUMBER = re.compile(r"[A-Za-z0-9]{2,20}-[A-Za-z0-9-]{1,20}")
KEY_PREFIX = re.compile(r"bk_live_(?P<tenant>[a-z0-9]{4,36})(_[A-Za-z0-9]{0,43})?")


def name_reference(reference: str) -> str:
    """For display. A key isn't shown, because it may be whole."""
    return "its API key" if KEY_PREFIX.fullmatch(reference) else reference


async def find_tenants(session: AsyncSession, reference: str) -> Sequence[str]:
    """Ids of at most `MAX_TENANTS`; [] for another text. `reference`: in its own case."""
    statement = _select_tenants(reference)
    if statement is None:
        return []
    connection = await session.connection()
    return [record[0] for record in await connection.execute(statement.limit(MAX_TENANTS))]


def _select_tenants(reference: str) -> Any:
    """None for another text."""
    if ids.is_id("req", reference):
        return union(
            select(AuditEvent.tenant_id).where(col(AuditEvent.request_id) == reference),
            select(DecisionRecord.tenant_id).where(col(DecisionRecord.request_id) == reference),
        )
    if decision_records.is_record_id(reference):
        return select(DecisionRecord.tenant_id).where(col(DecisionRecord.id) == reference)
    if key := KEY_PREFIX.fullmatch(reference):
        return select(Tenant.id).where(col(Tenant.id).startswith(f"ten_{key['tenant']}", autoescape=True))
    if PROVIDER_ID.fullmatch(reference):
        return union(
            select(BillingCustomer.tenant_id).where(col(BillingCustomer.id) == reference),
            select(BillingInvoice.tenant_id).where(col(BillingInvoice.id) == reference),
            select(BillingSubscription.tenant_id).where(col(BillingSubscription.id) == reference),
        )
    if INVOICE_NUMBER.fullmatch(reference):
        return select(BillingInvoice.tenant_id).where(
            col(BillingInvoice.number).in_([reference, reference.upper()])
        )
    return None
