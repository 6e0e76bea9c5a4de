"""What the billing page shows of prepaid credits."""

from shared.billing.prepaid.balance import PrepaidOverview
from shared.ui.dialog_state import DialogState
from shared.ui.prepaid_ledger import (
    PrepaidEntryRow,
    PrepaidGrantRow,
    describe_balance,
    entry_rows,
    grant_rows,
)
from tenant_app.shell import PageState


class PrepaidState(DialogState, PageState, mixin=True):
    prepaid_balance: str = ""  # "" where nothing is left
    prepaid_grants: list[PrepaidGrantRow] = []
    prepaid_entries: list[PrepaidEntryRow] = []

    def _show_prepaid(self, prepaid: PrepaidOverview) -> None:
        self.prepaid_balance = describe_balance(prepaid)
        self.prepaid_grants, self.prepaid_entries = grant_rows(prepaid), entry_rows(prepaid)
