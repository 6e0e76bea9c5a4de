"""What the page shows of API keys, and changes in them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import reflex as rx
from pydantic import create_model
from reflex.event import EventSpec

from shared.access import actions
from shared.access.actions import Action
from shared.access.decision import decide
from shared.access.refusal_messages import build_refusal
from shared.access.roles import Role
from shared.api_keys import issuers, keys
from shared.api_keys.actions import API_KEY_CREATE, API_KEY_READ, API_KEY_REVOKE, JWT_ISSUER_READ
from shared.api_keys.issuers import IssuerView
from shared.api_keys.keys import CreatedKey, KeyRequest, KeyView
from shared.core.context import Ctx
from shared.core.paging import Page
from shared.tenancy import roles, service_accounts
from shared.tenancy.models import TenantMode
from shared.tenancy.service_accounts import ServiceAccountView
from shared.test_mode import test_tenants
from shared.test_mode.actions import TEST_MODE_READ
from shared.ui.admission import Upsell, upsell_for
from shared.ui.authorize import needs
from shared.ui.dialogs import ConfirmForm
from shared.ui.forms import Form, VersionedForm, choice_of, id_of, parse_id
from shared.ui.list_state import ListState
from shared.ui.one_time_secret import send_secret
from tenant_app.pages.api_keys.accounts import ACCOUNT_DIALOGS, ServiceAccountsState
from tenant_app.pages.api_keys.issuer_rows import issuer_row, token_example
from tenant_app.pages.api_keys.issuers import ISSUER_DIALOGS, NEW_ISSUER_DIALOG, TokenIssuersState
from tenant_app.pages.api_keys.rows import (
    LIFETIMES,
    MYSELF,
    OVERLAPS,
    KeyRow,
    account_row,
    curl_example,
    holder_choices,
    key_row,
    list_scope_choices,
    python_example,
    role_choices,
    scope_groups,
)
from tenant_app.permission_boxes import PermissionGroupRow, checkbox_name
from tenant_app.shell import PageState

PAGE_SIZE = 25
SECRET_DIALOG = "secret"  # opened by the handlers alone, with the secret that they send


class BaseKeyForm(Form):
    name: str
    networks: str = ""
    origins: str = ""

    def selected_scopes(self) -> set[str]:
        values = self.model_dump()
        return {scope for scope in list_scope_choices() if values[checkbox_name(scope)] == "on"}


class BaseKeyCreationForm(BaseKeyForm):
    lifetime: Annotated[str, choice_of(dict(LIFETIMES))]
    holder: Annotated[str, id_of("sac")] | Literal["me"] = "me"
    mode: Literal["", "live", "test"] = ""

    def build_request(self) -> KeyRequest:
        lifetime = None if self.lifetime == "never" else timedelta(days=int(self.lifetime))
        return KeyRequest(
            name=self.name,
            scopes=self.selected_scopes(),
            expires_at=datetime.now(UTC) + lifetime if lifetime else None,
            networks=_split(self.networks),
            origins=_split(self.origins),
            service_account_id="" if self.holder == MYSELF else self.holder,
            mode=TenantMode(self.mode) if self.mode else None,
        )


class BaseKeyChangeForm(BaseKeyForm, VersionedForm):
    pass


class RotationForm(Form):
    overlap: Annotated[str, choice_of([hours for hours, _, _ in OVERLAPS])]


def _split(text: str) -> list[str]:
    """The entries of a field with several lines, which commas may separate too."""
    return [entry for entry in re.split(r"[\s,]+", text) if entry]


def _checkbox_fields() -> Any:
    """A field for every scope."""
    return {checkbox_name(scope): (Literal["", "on"], "") for scope in list_scope_choices()}


@cache
def key_creation_form() -> type[BaseKeyCreationForm]:
    return create_model("KeyCreationForm", __base__=BaseKeyCreationForm, **_checkbox_fields())


@cache
def key_change_form() -> type[BaseKeyChangeForm]:
    return create_model("KeyChangeForm", __base__=BaseKeyChangeForm, **_checkbox_fields())


class PageData(NamedTuple):
    ctx: Ctx
    keys: Page[KeyView]
    accounts: Sequence[ServiceAccountView]
    issuers: Sequence[IssuerView]
    roles_by_key: dict[str, Role]
    test_slug: str


class ApiKeysState(ServiceAccountsState, TokenIssuersState, ListState, PageState):
    reads: ClassVar[Action] = API_KEY_READ
    dialogs: ClassVar[Sequence[str]] = ("create_account",)
    filled_dialogs: ClassVar[Sequence[str]] = ("create", NEW_ISSUER_DIALOG)
    row_dialogs: ClassVar[Sequence[str]] = ("change", "rotate", "revoke", *ACCOUNT_DIALOGS, *ISSUER_DIALOGS)
    loaded: bool = False
    rows: list[KeyRow] = []
    upsell: Upsell = Upsell()  # while the plan has no API access
    upsell_reason: str = ""
    subject: KeyRow = KeyRow()
    groups: list[PermissionGroupRow] = []
    holders: list[tuple[str, str]] = []
    test_slug: str = ""  # of the test tenant; "" in test mode and while it is off
    curl_text: str = ""
    python_text: str = ""

    @rx.event
    @needs(API_KEY_READ, page=True)
    async def load(self) -> None:
        if not self.is_hydrated and self.dialog == SECRET_DIALOG:  # the page was loaded again without it
            self.dialog = ""
        async with self._open_page(ApiKeysState.load, keys.TOPIC, "roles", "members") as ctx:
            page_data = await self._read(ctx)
        self._show(page_data)

    async def _read(self, ctx: Ctx) -> PageData:
        key_page = await keys.list_keys(ctx, after=self._cursor(), limit=PAGE_SIZE)
        accounts: Sequence[ServiceAccountView] = ()
        if decide(ctx, actions.SERVICE_ACCOUNT_READ).allowed:
            accounts = (await service_accounts.list_accounts(ctx, limit=service_accounts.MAX_ACCOUNTS)).rows
        token_issuers: Sequence[IssuerView] = ()
        if decide(ctx, JWT_ISSUER_READ).allowed:
            token_issuers = (await issuers.list_issuers(ctx, limit=issuers.MAX_ISSUERS)).rows
        roles_by_key = {role.key: role for role in await roles.list_roles(ctx)}
        is_live = decide(ctx, TEST_MODE_READ).allowed
        test_slug = (await test_tenants.get(ctx)).slug if is_live else ""
        return PageData(ctx, key_page, accounts, token_issuers, roles_by_key, test_slug)

    def _show(self, page_data: PageData) -> None:
        ctx, key_page, accounts, token_issuers, roles_by_key, self.test_slug = page_data
        self.rows = [key_row(ctx, key) for key in key_page.rows]
        self._show_page(key_page, "key")
        self.accounts = [account_row(ctx, roles_by_key, account) for account in accounts]
        self.role_choices = role_choices(ctx, roles_by_key)
        self.issuers = [issuer_row(ctx, roles_by_key, issuer) for issuer in token_issuers]
        self.organisation_id, self.token_text = ctx.tenant_id, token_example()
        verdict = decide(ctx, API_KEY_CREATE)
        refusal = None if verdict.allowed else build_refusal(verdict.reason, API_KEY_CREATE, ctx)
        self.upsell, self.upsell_reason = upsell_for(refusal), refusal.detail if refusal else ""
        self.curl_text, self.python_text = curl_example(), python_example()
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as ctx:
            page_data = await self._read(ctx)
        self._show(page_data)

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog in ACCOUNT_DIALOGS:
            self._fill_account_dialog(row_id)
            return
        if dialog in (NEW_ISSUER_DIALOG, *ISSUER_DIALOGS):
            self._fill_issuer_dialog(dialog, row_id)
            return
        if dialog not in ("create", *self.row_dialogs):
            return
        async with self._ctx() as ctx:
            key = None if dialog == "create" else await keys.get(ctx, parse_id("key", row_id))
        self.subject = key_row(ctx, key) if key else KeyRow()
        self.groups = scope_groups(ctx, frozenset(key.scopes if key else ()))
        self.holders = holder_choices(ctx, self.accounts)

    @rx.event
    @needs(API_KEY_CREATE)
    async def create_key(self, payload: dict[str, Any]) -> EventSpec:
        form = key_creation_form().read(payload)
        async with self._change_page() as ctx:
            created = await keys.create(ctx, form.build_request())
            page_data = await self._read(ctx)
        return self._show_secret(page_data, created)

    @rx.event
    @needs(API_KEY_CREATE)
    async def rotate_key(self, payload: dict[str, Any]) -> EventSpec:
        overlap, subject = timedelta(hours=int(RotationForm.read(payload).overlap)), self.subject
        async with self._change_page() as ctx:
            rotated = await keys.rotate(ctx, parse_id("key", subject.id), overlap=overlap)
            page_data = await self._read(ctx)
        return self._show_secret(page_data, rotated)

    def _show_secret(self, page_data: PageData, created: CreatedKey) -> EventSpec:
        """Sends the secret to the browser without storing it in the state."""
        self._show(page_data)
        self._close_dialog()
        self.subject, self.dialog = key_row(page_data.ctx, created.key), SECRET_DIALOG
        return send_secret(created.text)

    @rx.event
    @needs(API_KEY_CREATE)
    async def change_key(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = key_change_form().read(payload), self.subject
        async with self._change_page() as ctx:
            key = await keys.get(ctx, parse_id("key", subject.id))
            # What this page has no words for yet is no box in the form, and stays.
            unlisted = set(key.scopes) - set(list_scope_choices())
            await keys.change(
                ctx,
                key.id,
                name=form.name,
                scopes=form.selected_scopes() | unlisted,
                networks=_split(form.networks),
                origins=_split(form.origins),
                version=form.row_version,
            )
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Changed {form.name}.", "Takes effect on the next request.")

    @rx.event
    @needs(API_KEY_REVOKE)
    async def revoke_key(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        form.check(subject.name)
        async with self._change_page() as ctx:
            await keys.revoke(ctx, parse_id("key", subject.id))
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Revoked {subject.name}.", "Programs that use it are refused.")

    def _finish(self, page_data: PageData, title: str, detail: str) -> EventSpec:
        self._show(page_data)
        self._close_dialog()
        return rx.toast.success(title, description=detail)
