"""Test mode over REST: read it and turn it on. Only an owner deletes test data, on the page Settings."""

from pydantic import Field

from shared.access.endpoints import ApiCtx, ApiOutput, Endpoint
from shared.test_mode import test_tenants
from shared.test_mode.actions import TEST_MODE_READ, TEST_MODE_TURN_ON


class TestMode(ApiOutput):
    is_on: bool
    tenant_id: str = Field(description="Of the test organisation, or empty", examples=["ten_acme_test"])
    slug: str = Field(description="Part of the address of its pages, or empty", examples=["acme-test"])


async def get_test_mode(ctx: ApiCtx) -> TestMode:
    return TestMode.model_validate(await test_tenants.get(ctx))


async def turn_on_test_mode(ctx: ApiCtx) -> TestMode:
    return TestMode.model_validate(await test_tenants.turn_on(ctx))


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/test-mode",
        handler=get_test_mode,
        action=TEST_MODE_READ,
        summary="Read whether test mode is on",
    ),
    Endpoint(
        method="POST",
        path="/test-mode",
        handler=turn_on_test_mode,
        action=TEST_MODE_TURN_ON,
        summary="Turn on test mode",
    ),
]
