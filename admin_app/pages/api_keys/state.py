"""What the page shows of operators' API keys, and changes in them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import reflex as rx
from pydantic import create_model
from reflex.event import EventSpec

from admin_app.pages.api_keys.rows import (
    LIFETIMES,
    OVERLAPS,
    OperatorKeyRow,
    ScopeBoxRow,
    curl_example,
    operator_key_row,
    scope_boxes,
    scope_field,
)
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import operator_keys
from shared.backoffice.operator_keys import CreatedOperatorKey, OperatorKeyRequest
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm, ReasonText
from shared.ui.forms import Form, choice_of, parse_id
from shared.ui.list_state import ListState
from shared.ui.one_time_secret import send_secret

PAGE_SIZE = 25
SECRET_DIALOG = "secret"  # opened by the handlers alone, with the secret that they send


class BaseKeyCreationForm(Form):
    name: str
    lifetime: Annotated[str, choice_of(dict(LIFETIMES))]
    networks: str = ""
    reason: ReasonText
    code: str

    def build_request(self) -> OperatorKeyRequest:
        values = self.model_dump()
        lifetime = None if self.lifetime == "never" else timedelta(days=int(self.lifetime))
        return OperatorKeyRequest(
            name=self.name,
            scopes=[scope for scope in operator_keys.list_all_scopes() if values[scope_field(scope)] == "on"],
            expires_at=datetime.now(UTC) + lifetime if lifetime else None,
            networks=[entry for entry in re.split(r"[\s,]+", self.networks) if entry],
        )


class RotationForm(Form):
    overlap: Annotated[str, choice_of([hours for hours, _, _ in OVERLAPS])]
    reason: ReasonText
    code: str


@cache
def key_creation_form() -> type[BaseKeyCreationForm]:
    """With a field for every scope."""
    boxes: Any = {
        scope_field(scope): (Literal["", "on"], "") for scope in sorted(operator_keys.list_all_scopes())
    }
    return create_model("KeyCreationForm", __base__=BaseKeyCreationForm, **boxes)


class OperatorKeysState(DialogState, ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_API_KEY_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_API_KEY_WRITE
    filled_dialogs: ClassVar[Sequence[str]] = ("create",)
    row_dialogs: ClassVar[Sequence[str]] = ("rotate", "revoke")
    loaded: bool = False
    rows: list[OperatorKeyRow] = []
    subject: OperatorKeyRow = OperatorKeyRow()
    boxes: list[ScopeBoxRow] = []
    curl_text: str = ""

    @rx.event
    @needs(actions.OP_API_KEY_READ, page=True)
    async def load(self) -> None:
        if not self.is_hydrated and self.dialog == SECRET_DIALOG:  # the page was loaded again without it
            self.dialog = ""
        async with self._open_page(OperatorKeysState.load) as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        key_page = await operator_keys.list_keys(octx, after=self._cursor(), limit=PAGE_SIZE)
        self.rows = [operator_key_row(octx, key) for key in key_page.rows]
        self._show_page(key_page, "key")
        self.boxes, self.curl_text = scope_boxes(octx), curl_example()
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            await self._read(octx)

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "create":
            self.subject = OperatorKeyRow()
            return
        rows = {key.id: key for key in self.rows}
        if parse_id("opk", row_id) not in rows:
            raise Invalid("This key is no longer in the list.", "Reload the page.")
        self.subject = rows[row_id]

    @rx.event
    @needs(actions.OP_API_KEY_WRITE)
    async def create_key(self, payload: dict[str, Any]) -> EventSpec:
        form = key_creation_form().read(payload)
        async with self._change_page() as octx:
            reason = state_reason(octx, form.reason)
            created = await operator_keys.create(octx, form.build_request(), reason, code=form.code)
            await self._read(octx)
        return self._show_secret(octx, created)

    @rx.event
    @needs(actions.OP_API_KEY_WRITE)
    async def rotate_key(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = RotationForm.read(payload), self.subject
        async with self._change_page() as octx:
            rotated = await operator_keys.rotate(
                octx,
                parse_id("opk", subject.id),
                state_reason(octx, form.reason),
                code=form.code,
                overlap=timedelta(hours=int(form.overlap)),
            )
            await self._read(octx)
        return self._show_secret(octx, rotated)

    def _show_secret(self, octx: OperatorCtx, created: CreatedOperatorKey) -> EventSpec:
        """Sends the secret to the browser without storing it in the state."""
        self._close_dialog()
        self.subject, self.dialog = operator_key_row(octx, created.key), SECRET_DIALOG
        return send_secret(created.text)

    @rx.event
    @needs(actions.OP_API_KEY_WRITE)
    async def revoke_key(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ReasonForm.read(payload), self.subject
        async with self._change_page() as octx:
            await operator_keys.revoke(octx, parse_id("opk", subject.id), state_reason(octx, form.reason))
            await self._read(octx)
        self._close_dialog()
        return rx.toast.success(
            f"Revoked {subject.name}.", description="Programs that use it are refused from now on."
        )
