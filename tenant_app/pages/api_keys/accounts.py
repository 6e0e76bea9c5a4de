"""What the page shows of service accounts, and changes in them."""

from typing import Any

import reflex as rx
from reflex.event import EventSpec

from shared.access import actions
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.tenancy import service_accounts
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm
from shared.ui.forms import Form, VersionedForm, parse_id
from tenant_app.pages.api_keys.rows import AccountRow
from tenant_app.shell import PageState

ACCOUNT_DIALOGS = ("change_account", "end_account")


class AccountForm(Form):
    name: str
    role: str


class AccountChangeForm(VersionedForm):
    name: str
    role: str


class ServiceAccountsState(DialogState, PageState, mixin=True):
    accounts: list[AccountRow] = []
    role_choices: list[tuple[str, str, str]] = []  # that the reader can give to one
    account: AccountRow = AccountRow()  # that the dialog is about

    async def _read(self, ctx: Ctx) -> Any:
        """What the page shows, for `_finish`."""
        raise NotImplementedError

    def _finish(self, page_data: Any, title: str, detail: str) -> EventSpec:
        """Shows the page, closes the dialog."""
        raise NotImplementedError

    def _fill_account_dialog(self, row_id: str) -> None:
        """Raises Invalid."""
        accounts = {account.id: account for account in self.accounts}
        if parse_id("sac", row_id) not in accounts:
            raise Invalid("This service account is no longer in the list.", "Reload the page.")
        self.account = accounts[row_id]

    @rx.event
    @needs(actions.SERVICE_ACCOUNT_WRITE)
    async def create_account(self, payload: dict[str, Any]) -> EventSpec:
        form = AccountForm.read(payload)
        async with self._change_page() as ctx:
            account = await service_accounts.create(ctx, form.name, form.role)
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Created {account.name}.", "You can create keys for it now.")

    @rx.event
    @needs(actions.SERVICE_ACCOUNT_WRITE)
    async def change_account(self, payload: dict[str, Any]) -> EventSpec:
        form, account = AccountChangeForm.read(payload), self.account
        async with self._change_page() as ctx:
            await service_accounts.change(
                ctx, parse_id("sac", account.id), name=form.name, role=form.role, version=form.row_version
            )
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Changed {form.name}.", "Takes effect on the next request.")

    @rx.event
    @needs(actions.SERVICE_ACCOUNT_END)
    async def end_account(self, payload: dict[str, Any]) -> EventSpec:
        form, account = ConfirmForm.read(payload), self.account
        form.check(account.name)
        async with self._change_page() as ctx:
            await service_accounts.end(ctx, parse_id("sac", account.id))
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Deleted {account.name}.", "Its keys no longer work.")
