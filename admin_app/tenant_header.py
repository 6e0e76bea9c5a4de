"""The header and the provisioning steps of a tenant's page: every tab shows them again after a change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from admin_app import labels
from admin_app.shell import PageState
from shared.backoffice import tenant_directory
from shared.backoffice.reasons import Reason, state_reason
from shared.backoffice.tenant_directory_rows import TenantSummary
from shared.core.context import OperatorCtx
from shared.tenancy.models import TenantState
from shared.tenancy.provisioning import StepView
from shared.ui.forms import parse_id
from shared.ui.object_state import ObjectState


def tenant_id_from_path(path: str) -> str:
    """The unchecked tenant id in the address; services decide on access. Raises Invalid."""
    return parse_id("ten", path.strip("/").partition("/")[2])


@dataclass(frozen=True, kw_only=True)
class TenantHeader:
    id: str = ""
    name: str = ""
    slug: str = ""
    plan: str = ""
    state: str = ""
    tone: str = ""
    suspended: bool = False
    reason: str = ""  # of the suspension, for operators
    suspension_message: str = ""  # what members read
    owner: str = ""
    members: str = ""
    invited: str = ""
    seen_at: str = ""
    created_at: str = ""
    setup: str = ""
    setup_note: str = ""
    live_tenant_id: str = ""  # of a test tenant
    test_tenant_id: str = ""  # of a live tenant
    deletion_at: str = ""  # while one is scheduled


@dataclass(frozen=True, kw_only=True)
class ProvisioningStepRow:
    title: str
    note: str
    state: str
    tone: str
    finished_at: str


def tenant_header(tenant: TenantSummary) -> TenantHeader:
    state = labels.TENANT_STATE_LABELS[tenant.state]
    open_steps = tenant.steps - tenant.steps_done
    setup_said = (
        labels.plural(tenant.steps_failed, "step failed", "steps failed") if tenant.steps_failed else ""
    )
    return TenantHeader(
        id=tenant.id,
        name=tenant.name,
        slug=tenant.slug,
        plan=tenant.plan,
        state=state,
        tone=labels.tone_of(state),
        suspended=tenant.state is TenantState.SUSPENDED,
        reason=tenant.state_reason,
        suspension_message=tenant.suspension_message,
        owner=tenant.owner or "No owner",
        members=labels.plural(tenant.members, "active", "active"),
        invited=labels.plural(tenant.pending_invitations, "pending invitation", "pending invitations"),
        seen_at=tenant.seen_at.isoformat() if tenant.seen_at else "",
        created_at=tenant.created_at.isoformat(),
        setup=f"{tenant.steps_done} of {tenant.steps} steps",
        setup_note=setup_said
        or ("Finished" if not open_steps else labels.plural(open_steps, "step left", "steps left")),
        live_tenant_id=tenant.live_tenant_id,
        test_tenant_id=tenant.test_tenant_id,
        deletion_at=tenant.deletion_at.isoformat() if tenant.deletion_at else "",
    )


def provisioning_step_row(step: StepView) -> ProvisioningStepRow:
    state = labels.STEP_STATE_LABELS[step.state]
    tries = labels.plural(step.attempts, "try", "tries")
    note = f"{step.error} {tries} so far." if step.error else tries if step.attempts > 1 else ""
    finished = step.finished_at.isoformat() if step.finished_at else ""
    return ProvisioningStepRow(
        title=step.title, note=note, state=state, tone=labels.tone_of(state), finished_at=finished
    )


class TenantObjectState(ObjectState, mixin=True):
    """Mixin of every part of a tenant's page."""

    def _tenant_id(self) -> str:
        """The tenant that is shown, unchecked. Services decide on access. Raises Invalid for an impossible id."""
        return tenant_id_from_path(self._shown_path)

    def _state_reason(self, octx: OperatorCtx, text: str) -> Reason:
        """For a change of the tenant that is shown. Raises Invalid."""
        return state_reason(octx, text, tenant_id=self._tenant_id())


class TenantHeaderState(PageState):
    """Base of a tenant's page and of its tabs, which share these vars. They are `TenantObjectState`s."""

    header: TenantHeader = TenantHeader()
    steps: list[ProvisioningStepRow] = []
    has_open_steps: bool = False

    def _tenant_id(self) -> str:
        raise NotImplementedError

    async def _read_header(self, octx: OperatorCtx) -> tuple[TenantSummary, Sequence[StepView]]:
        tenant_id = self._tenant_id()
        return (
            await tenant_directory.get_tenant(octx, tenant_id),
            await tenant_directory.list_provisioning_steps(octx, tenant_id),
        )

    def _show_header(self, tenant: TenantSummary, steps: Sequence[StepView]) -> None:
        self.header, self.steps = tenant_header(tenant), [provisioning_step_row(step) for step in steps]
        self.has_open_steps = tenant.steps_done < tenant.steps

    async def _read_frame(self, ctx: OperatorCtx) -> Any:
        """The header belongs to the frame: plan, state and provisioning change by what the tabs do."""
        return await super()._read_frame(ctx), await self._read_header(ctx)

    async def _show_frame(self, ctx: OperatorCtx, frame_data: Any) -> None:
        operator_frame, header_data = frame_data
        await super()._show_frame(ctx, operator_frame)
        self._show_header(*header_data)
