"""Imports the modules of all API resources, which registers their routes. The first route that matches is used."""

from types import ModuleType

from shared.dev.stripe_sandbox import (
    accounts,
    balances,
    checkout,
    coupons,
    credit_notes,
    customers,
    events,
    intents,
    invoices,
    meters,
    payment_methods,
    portal,
    prices,
    products,
    refunds,
    resumptions,
    subscription_items,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)

RESOURCES: tuple[ModuleType, ...] = (
    accounts,
    balances,
    checkout,
    coupons,
    credit_notes,
    customers,
    events,
    intents,
    invoices,
    meters,
    payment_methods,
    portal,
    prices,
    products,
    refunds,
    resumptions,
    subscription_items,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)
