"""SQL of tenants that need attention. Across tenants, in a transaction with a reason."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, false, func, or_
from sqlalchemy import select as columns
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice.attention_kinds import Attention
from shared.billing.models import BillingSnapshot, BillingSubscription
from shared.core.db import timestamptz
from shared.metering.models import UsageCounter
from shared.tenancy.models import ProvisioningStep, StepState, Tenant, TenantState

TRIAL_PERIOD = timedelta(days=7)
SETUP_TIME = timedelta(minutes=15)  # after which an unfinished setup counts as stuck
NEAR_PERCENT = 80  # of a limit, at which members are told
PAST_DUE_STATUSES = ("past_due", "unpaid")


def build_condition(attention: Attention, at: datetime, failing_ids: Collection[str]) -> ColumnElement[bool]:
    """Of rows of `tenant`. `failing_ids`: tenants whose requests fail now. Deleted tenants need no attention."""
    return _conditions(attention, at, failing_ids) & (col(Tenant.state) != TenantState.DELETED)


async def count_tenants(
    session: AsyncSession, attention: Attention, at: datetime, failing_ids: Collection[str]
) -> int:
    statement = columns(func.count()).select_from(Tenant).where(build_condition(attention, at, failing_ids))
    connection = await session.connection()
    return int((await connection.execute(statement)).scalar_one())


def _conditions(attention: Attention, at: datetime, failing_ids: Collection[str]) -> ColumnElement[bool]:
    match attention:
        case Attention.TRIAL_ENDING:
            ends_at = col(BillingSubscription.state)["trial_ends_at"].as_string().cast(timestamptz())
            trials = (
                columns(col(BillingSubscription.tenant_id))
                .where(col(BillingSubscription.status) == "trialing")
                .where(col(BillingSubscription.absent_at).is_(None))
                .where(ends_at.between(at, at + TRIAL_PERIOD))
            )
            return col(Tenant.id).in_(trials)
        case Attention.PAST_DUE:
            debts = columns(col(BillingSnapshot.tenant_id)).where(
                col(BillingSnapshot.status).in_(PAST_DUE_STATUSES)
            )
            return col(Tenant.id).in_(debts)
        case Attention.LIMIT_NEAR:
            counters = (
                columns(col(UsageCounter.tenant_id))
                .where(col(UsageCounter.warned_percent) >= NEAR_PERCENT)
                .where(col(UsageCounter.starts_at) <= at)
                .where(col(UsageCounter.ends_at) > at)
            )
            return col(Tenant.id).in_(counters)
        case Attention.STUCK_SETUP:
            failed = columns(col(ProvisioningStep.tenant_id)).where(
                col(ProvisioningStep.state) == StepState.FAILED
            )
            unfinished = columns(col(ProvisioningStep.tenant_id)).where(
                col(ProvisioningStep.state) != StepState.DONE
            )
            is_late = col(Tenant.created_at) < at - SETUP_TIME
            return or_(col(Tenant.id).in_(failed), is_late & col(Tenant.id).in_(unfinished))
        case Attention.FAILING:
            return col(Tenant.id).in_(failing_ids) if failing_ids else false()
