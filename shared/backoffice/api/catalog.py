"""Plans and add-ons that can be assigned."""

from pydantic import Field

from shared.access import actions
from shared.access.endpoints import ApiOperatorCtx, ApiOutput, ApiPage, Endpoint
from shared.backoffice import catalog_drafts
from shared.backoffice.catalog_drafts import CatalogItem


class Plan(ApiOutput):
    id: str = Field(examples=["pln_business"])
    key: str = Field(examples=["business"])
    name: str = Field(examples=["Business"])
    kind: str = Field(description="plan or addon", examples=["plan"])
    plan_version_id: str | None = Field(
        description="The newest published version; null before the first", examples=["plv_business_1"]
    )
    for_tenant: str | None = Field(
        description="The only organisation that can have it; null for all", examples=[None]
    )
    is_retired: bool = Field(description="No longer offered", examples=[False])


async def list_plans(octx: ApiOperatorCtx) -> ApiPage[Plan]:
    catalog = await catalog_drafts.list_catalog(octx)
    return ApiPage(items=[_show_plan(item) for item in catalog.items])


def _show_plan(item: CatalogItem) -> Plan:
    return Plan(
        id=item.plan.id,
        key=item.plan.key,
        name=item.plan.name,
        kind=item.plan.kind,
        plan_version_id=item.newest.id if item.newest else None,
        for_tenant=item.plan.for_tenant,
        is_retired=item.plan.retired_at is not None,
    )


ENDPOINTS = [
    Endpoint(
        realm="operator",
        method="GET",
        path="/plans",
        handler=list_plans,
        action=actions.OP_CATALOG_READ,
        summary="List plans and add-ons",
    )
]
