"""State of a tenant's rights tab."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.tenant_rights.forms import (
    BILLING_STATUS_LABELS,
    AddonForm,
    BillingForm,
    FeatureForm,
    FlagForm,
    LimitForm,
    PlanForm,
    TraitForm,
)
from admin_app.pages.tenant_rights.rows import (
    DialogSubject,
    ExceptionRow,
    FlagOrTraitRow,
    RightRow,
    RightsSummary,
    addon_rows,
    feature_rows,
    flag_rows,
    limit_rows,
    override_rows,
    rights_summary,
    trait_rows,
)
from admin_app.tenant_header import TenantHeaderState, TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import tenant_access
from shared.backoffice.tenant_access import TenantAccess
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.entitlements.assignments import TRAITS
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm


class TenantRightsState(DialogState, TenantObjectState, TenantHeaderState):
    reads: ClassVar[OperatorAction] = actions.OP_RIGHTS_EXPLAIN
    dialogs: ClassVar[Sequence[str]] = ("plan", "billing", "addon", "feature", "limit")
    row_dialogs: ClassVar[Sequence[str]] = (
        "end",
        "flag",
        "trait",
    )  # by id of an exception, key of a flag or trait
    loaded: bool = False
    name: str = ""  # of the tenant
    summary: RightsSummary = RightsSummary()
    addons: list[ExceptionRow] = []
    overrides: list[ExceptionRow] = []
    features: list[RightRow] = []
    limits: list[RightRow] = []
    flags: list[FlagOrTraitRow] = []
    traits: list[FlagOrTraitRow] = []
    plan_choices: list[tuple[str, str]] = []  # id of a version, and what it is called
    addon_choices: list[tuple[str, str]] = []
    trait_choices: list[tuple[str, str]] = []  # of the trait that the dialog is about
    billing: str = "active"
    subject: DialogSubject = DialogSubject()

    @rx.event
    @needs(actions.OP_RIGHTS_EXPLAIN, page=True)
    async def load(self) -> None:
        """Loads the tab; the page's load has filled the frame."""
        async with self._ctx() as octx:
            rights = await self._read(octx)
        self._show(rights)

    async def _read(self, octx: OperatorCtx) -> TenantAccess:
        """For the reason of the page's visit, if one was stated."""
        visit, tenant_id = await self.get_state(TenantVisitState), self._tenant_id()
        return await tenant_access.get_tenant_access(octx, tenant_id, visit._reason_for(tenant_id))

    def _show(self, rights: TenantAccess) -> None:
        tenant_id, offers_by_id = rights.snapshot.tenant_id, {offer.id: offer for offer in rights.offers}
        self.name, self.summary = rights.tenant_name, rights_summary(rights)
        self.addons, self.overrides = addon_rows(rights), override_rows(rights)
        self.features, self.limits = feature_rows(rights, tenant_id), limit_rows(rights, tenant_id)
        self.flags, self.traits = flag_rows(rights), trait_rows(rights)
        self.billing = rights.snapshot.billing_status
        self.plan_choices = [
            (key, f"{offer.label}{f', {offer.trial_days} trial days offered' if offer.trial_days else ''}")
            for key, offer in offers_by_id.items()
            if offer.kind == "plan"
        ]
        self.addon_choices = [
            (key, offer.label) for key, offer in offers_by_id.items() if offer.kind == "addon"
        ]
        self.loaded = True

    def _finish(self, rights: TenantAccess, title: str) -> EventSpec:
        self._show(rights)
        self._close_dialog()
        return rx.toast.success(title, description=f"Recorded in the audit log of {self.name}.")

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        self.subject = DialogSubject()
        if dialog == "end":
            exception = next(
                (exception for exception in (*self.addons, *self.overrides) if exception.id == row_id), None
            )
            self.subject = _require_subject(
                exception and DialogSubject(id=exception.id, title=exception.title, value=exception.value)
            )
        elif dialog in ("flag", "trait"):
            rows = self.flags if dialog == "flag" else self.traits
            toggle = next((toggle for toggle in rows if toggle.key == row_id), None)
            self.subject = _require_subject(
                toggle and DialogSubject(id=toggle.key, title=toggle.title, value=toggle.value)
            )
            if dialog == "trait":
                values = TRAITS[self.subject.id] or ("yes",)
                self.trait_choices = [("", "Not set"), *((value, value) for value in values)]

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def change_plan(self, payload: dict[str, Any]) -> EventSpec:
        form = PlanForm.read(payload)
        form.check(self.name)
        async with self._change_page() as octx:
            await tenant_access.assign_plan(
                octx,
                self._tenant_id(),
                form.version,
                self._state_reason(octx, form.reason),
                trial_days=form.trial_days,
            )
            rights = await self._read(octx)
        return self._finish(rights, f"{self.name} is now on {rights.snapshot.offer.label}.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def set_billing_status(self, payload: dict[str, Any]) -> EventSpec:
        form = BillingForm.read(payload)
        form.check(self.name)
        async with self._change_page() as octx:
            await tenant_access.set_billing_status(
                octx,
                self._tenant_id(),
                form.status,
                self._state_reason(octx, form.reason),
            )
            rights = await self._read(octx)
        return self._finish(
            rights,
            f"The billing status of {self.name} is now {BILLING_STATUS_LABELS[form.status][0].lower()}.",
        )

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def add_addon(self, payload: dict[str, Any]) -> EventSpec:
        form = AddonForm.read(payload)
        async with self._change_page() as octx:
            await tenant_access.add_addon(
                octx,
                self._tenant_id(),
                form.version,
                form.quantity,
                self._state_reason(octx, form.reason),
                ends_at=form.until,
            )
            rights = await self._read(octx)
        return self._finish(rights, "Added the add-on.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def override_feature(self, payload: dict[str, Any]) -> EventSpec:
        form = FeatureForm.read(payload)
        async with self._change_page() as octx:
            await tenant_access.override_feature(
                octx,
                self._tenant_id(),
                form.name,
                form.on == "on",
                self._state_reason(octx, form.reason),
                ends_at=form.until,
            )
            rights = await self._read(octx)
        return self._finish(rights, f"{FEATURES[form.name].title} is switched {form.on} for {self.name}.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def override_limit(self, payload: dict[str, Any]) -> EventSpec:
        form = LimitForm.read(payload)
        amount = form.limit_amount()
        async with self._change_page() as octx:
            await tenant_access.override_limit(
                octx,
                self._tenant_id(),
                form.name,
                amount,
                self._state_reason(octx, form.reason),
                ends_at=form.until,
                hard=form.kind != "soft",
            )
            rights = await self._read(octx)
        return self._finish(rights, f"Changed the limit {LIMITS[form.name].title}.")

    @rx.event
    @needs(actions.OP_RIGHTS_WRITE)
    async def end_exception(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await tenant_access.end_assignment(
                octx,
                self._tenant_id(),
                self.subject.id,
                self._state_reason(octx, form.reason),
            )
            rights = await self._read(octx)
        return self._finish(rights, f"Ended {self.subject.title}.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def override_flag(self, payload: dict[str, Any]) -> EventSpec:
        form = FlagForm.read(payload)
        override = {"on": True, "off": False, "none": None}[form.own]
        async with self._change_page() as octx:
            await tenant_access.set_flag_override(
                octx,
                self._tenant_id(),
                self.subject.id,
                override,
                self._state_reason(octx, form.reason),
            )
            rights = await self._read(octx)
        return self._finish(rights, f"Saved the flag override of {self.subject.title}.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def set_trait(self, payload: dict[str, Any]) -> EventSpec:
        form = TraitForm.read(payload)
        async with self._change_page() as octx:
            await tenant_access.set_trait(
                octx,
                self._tenant_id(),
                self.subject.id,
                form.value,
                self._state_reason(octx, form.reason),
            )
            rights = await self._read(octx)
        return self._finish(rights, f"Set {self.subject.title}.")


def _require_subject(subject: DialogSubject | None) -> DialogSubject:
    if subject is None:
        raise Invalid("The page has changed.", "Reload the page and try again.")
    return subject
