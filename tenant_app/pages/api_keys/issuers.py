"""What the page shows of token issuers, and changes in them."""

from collections.abc import Mapping
from typing import Any, Literal

import reflex as rx
from reflex.event import EventSpec

from shared.access.roles import Role
from shared.api_keys import issuers
from shared.api_keys.actions import JWT_ISSUER_DELETE, JWT_ISSUER_WRITE
from shared.api_keys.issuers import IssuerRequest
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.tenancy import roles
from shared.tenancy.token_texts import ALGORITHMS
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm
from shared.ui.forms import Form, VersionedForm, parse_id
from tenant_app.pages.api_keys.issuer_rows import (
    IssuerRow,
    algorithm_field,
    new_issuer_row,
    parse_role_map,
)
from tenant_app.shell import PageState

NEW_ISSUER_DIALOG, ISSUER_DIALOGS = "create_issuer", ("change_issuer", "delete_issuer")


class IssuerForm(Form):
    name: str
    issuer: str
    audience: str
    jwks_url: str
    tenant_claim: str
    role: str
    role_claim: str = ""
    role_map: str = ""
    accepts_tokens: Literal["", "on"] = ""
    algorithm_rs256: Literal["", "on"] = ""
    algorithm_ps256: Literal["", "on"] = ""
    algorithm_es256: Literal["", "on"] = ""
    algorithm_eddsa: Literal["", "on"] = ""

    def build_request(self, roles_by_key: Mapping[str, Role]) -> IssuerRequest:
        """Raises Invalid."""
        values = self.model_dump()
        return IssuerRequest(
            name=self.name,
            issuer=self.issuer,
            audience=self.audience,
            jwks_url=self.jwks_url,
            algorithms=[name for name in ALGORITHMS if values[algorithm_field(name)] == "on"],
            tenant_claim=self.tenant_claim,
            role=self.role,
            role_claim=self.role_claim,
            role_map=parse_role_map(self.role_map, roles_by_key),
            enabled=self.accepts_tokens == "on",
        )


class IssuerChangeForm(IssuerForm, VersionedForm):
    pass


class TokenIssuersState(DialogState, PageState, mixin=True):
    issuers: list[IssuerRow] = []
    issuer: IssuerRow = IssuerRow()  # that the dialog is about
    organisation_id: str = ""
    token_text: str = ""

    async def _read(self, ctx: Ctx) -> Any:
        """What the page shows, for `_finish`."""
        raise NotImplementedError

    def _finish(self, page_data: Any, title: str, detail: str) -> EventSpec:
        """Shows the page, closes the dialog."""
        raise NotImplementedError

    def _fill_issuer_dialog(self, dialog: str, row_id: str) -> None:
        """Raises Invalid."""
        if dialog == NEW_ISSUER_DIALOG:
            self.issuer = new_issuer_row()
            return
        rows = {row.id: row for row in self.issuers}
        if parse_id("jwi", row_id) not in rows:
            raise Invalid("This token issuer is no longer in the list.", "Reload the page.")
        self.issuer = rows[row_id]

    @rx.event
    @needs(JWT_ISSUER_WRITE)
    async def create_issuer(self, payload: dict[str, Any]) -> EventSpec:
        form = IssuerForm.read(payload)
        async with self._change_page() as ctx:
            await issuers.create(ctx, form.build_request(await _read_roles(ctx)))
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Added {form.name}.", "Its tokens are accepted from now on.")

    @rx.event
    @needs(JWT_ISSUER_WRITE)
    async def change_issuer(self, payload: dict[str, Any]) -> EventSpec:
        form, issuer = IssuerChangeForm.read(payload), self.issuer
        async with self._change_page() as ctx:
            request = form.build_request(await _read_roles(ctx))
            await issuers.change(ctx, parse_id("jwi", issuer.id), request, version=form.row_version)
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Changed {form.name}.", "Takes effect on the next request.")

    @rx.event
    @needs(JWT_ISSUER_DELETE)
    async def delete_issuer(self, payload: dict[str, Any]) -> EventSpec:
        form, issuer = ConfirmForm.read(payload), self.issuer
        form.check(issuer.name)
        async with self._change_page() as ctx:
            await issuers.delete(ctx, parse_id("jwi", issuer.id))
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Removed {issuer.name}.", "Its tokens are refused.")


async def _read_roles(ctx: Ctx) -> dict[str, Role]:
    return {role.key: role for role in await roles.list_roles(ctx)}
