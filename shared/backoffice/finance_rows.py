"""Rows of the finance report, independent of the session that read them. Amounts are in the smallest unit."""

from datetime import date, datetime
from typing import NamedTuple


class Movement(NamedTuple):
    currency: str
    month: date
    change: str
    annual: int
    tenants: int


class PlanRevenue(NamedTuple):
    currency: str
    name: str
    annual: int
    tenants: int


class InvoiceSum(NamedTuple):
    currency: str
    month: date
    invoices: int
    total: int
    tax: int
    included_tax: int
    discount: int
    paid: int
    credited: int


class LineSum(NamedTuple):
    """`name`: of the plan, "" for lines without a price of ours. Before discounts, and taxes that are added."""

    currency: str
    month: date
    name: str
    is_usage: bool
    amount: int


class TenantGrowth(NamedTuple):
    month: date
    created: int
    deleted: int


class DueTenant(NamedTuple):
    tenant_id: str
    name: str
    at: datetime
