"""Tenants that need attention, counted and found by the same conditions, and cohorts whose requests fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice import attention_repository
from shared.backoffice.alerts import alert_repository, cohorts
from shared.backoffice.alerts.cohorts import Traffic
from shared.backoffice.attention_kinds import Attention
from shared.core.traffic import Dimension

FAILURE_PERIOD = timedelta(hours=1)
COHORT_DIMENSIONS = (Dimension.PLAN, Dimension.FLAG)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCounts:
    """`failing_cohorts`: plans and flags whose tenants fail more often than all others, by dimension and key."""

    tenants: Mapping[Attention, int]
    failing_cohorts: Sequence[tuple[Dimension, str]]


async def count(session: AsyncSession, at: datetime) -> AttentionCounts:
    """For the overview. In a transaction across tenants."""
    traffic = await _read_traffic(session, at)
    failing_ids = _list_failing_tenants(traffic)
    return AttentionCounts(
        tenants={
            attention: await attention_repository.count_tenants(session, attention, at, failing_ids)
            for attention in Attention
        },
        failing_cohorts=[
            (dimension, cohort.value)
            for dimension in COHORT_DIMENSIONS
            for cohort in cohorts.find_failing(traffic, dimension)
        ],
    )


async def build_condition(session: AsyncSession, attention: Attention, at: datetime) -> ColumnElement[bool]:
    """Of the tenants that are counted. In a transaction across tenants."""
    failing_ids: Sequence[str] = ()
    if attention is Attention.FAILING:
        failing_ids = _list_failing_tenants(await _read_traffic(session, at))
    return attention_repository.build_condition(attention, at, failing_ids)


async def _read_traffic(session: AsyncSession, at: datetime) -> Traffic:
    return await alert_repository.sum_traffic(session, at - FAILURE_PERIOD, at)


def _list_failing_tenants(traffic: Traffic) -> Sequence[str]:
    return [cohort.value for cohort in cohorts.find_failing(traffic, Dimension.TENANT)]
