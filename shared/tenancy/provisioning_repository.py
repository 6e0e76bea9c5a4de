"""SQL of provisioning steps."""

from collections.abc import Sequence

from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.tenancy.models import (
    ProvisioningStep,
)


async def list_steps(ctx: Ctx) -> Sequence[ProvisioningStep]:
    statement = (
        select(ProvisioningStep)
        .where(ProvisioningStep.tenant_id == ctx.tenant_id)
        .order_by(col(ProvisioningStep.position))
    )
    return await rows.all(ctx, statement)


async def lock_steps(ctx: Ctx) -> Sequence[ProvisioningStep]:
    statement = (
        select(ProvisioningStep)
        .where(ProvisioningStep.tenant_id == ctx.tenant_id)
        .order_by(col(ProvisioningStep.position))
        .with_for_update(key_share=True)
    )
    return await rows.all(ctx, statement)
