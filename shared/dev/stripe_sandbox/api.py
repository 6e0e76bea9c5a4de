"""Stripe's API as an application of its own, to be mounted at /stripe."""

from starlette.applications import Starlette

from shared.dev.stripe_sandbox.store import Sandbox


def app(sandbox: Sandbox) -> Starlette:
    """/v1/… and /v2/billing/…"""
    return Starlette()
