"""State of a flag's page."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.flag.forms import MoveCleanupForm, ReviveForm, RuleForm, SaveRulesForm
from admin_app.pages.flag.rows import (
    ExposedRow,
    FlagHeader,
    FlagImpactView,
    FlagMetrics,
    FlagVersionRow,
    RuleRow,
    exposed_row,
    flag_header,
    flag_impact_view,
    flag_metrics,
    rule_rows,
    version_rows,
)
from admin_app.pages.flags import parse_day
from admin_app.shell import PageState
from admin_app.submissions import describe_outcome
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approved_changes, flag_admin, flag_exposure
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid, NotFound
from shared.entitlements import flag_rules
from shared.entitlements.assignments import TRAITS
from shared.entitlements.flag_evaluation import RULE_KINDS
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmReasonForm
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState
from shared.ui.object_state import ObjectState

PAGE_SIZE = 25


class FlagPageState(DialogState, ListState, ObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_FLAG_READ
    dialogs: ClassVar[Sequence[str]] = ("kill",)
    # Saving and reviving show an impact. The others are opened from a menu, which has to be gone first.
    filled_dialogs: ClassVar[Sequence[str]] = ("save", "revive", "move", "retire")
    loaded: bool = False
    header: FlagHeader = FlagHeader()
    metrics: FlagMetrics = FlagMetrics()
    rules: list[RuleRow] = []
    versions: list[FlagVersionRow] = []
    exposed: list[ExposedRow] = []
    is_editing: bool = False
    is_draft_outdated: bool = False  # it was changed while it was edited here
    draft_rules: list[RuleRow] = []
    kind: str = "everyone"
    form_number: int = 0  # a new form for every rule
    value_choices: list[tuple[str, str]] = []  # of the selected kind of rule
    impact: FlagImpactView = FlagImpactView()
    version_number: int = 0  # of the version that is shown
    draft_version: int = 0  # version that the draft is based on
    # As text, because Reflex wraps lists in proxies that strict validation rejects.
    _rules_json: str = "[]"
    _draft_json: str = "[]"  # one rule per value
    _plan_names: dict[str, str] = {}

    def _shown_key(self) -> str:
        """The key of the shown flag. Raises NotFound for an impossible one."""
        key = self._shown_path.strip("/").partition("/")[2]
        if flag_admin.KEY_PATTERN.fullmatch(key) is None:
            raise NotFound("This flag doesn’t exist.", "Choose one from the list.")
        return key

    @rx.event
    @needs(actions.OP_FLAG_READ, page=True)
    async def load(self) -> None:
        key = self._shown_key()
        async with self._open_page(FlagPageState.load, flag_admin.TOPIC, "tenant") as octx:
            page_data = await self._read(octx, key)
        self._show(*page_data)

    async def _read(
        self, octx: OperatorCtx, key: str
    ) -> tuple[flag_admin.FlagDetail, flag_exposure.FlagReach]:
        return (
            await flag_admin.get_flag(octx, key),
            await flag_exposure.get_flag_reach(octx, key, after=self._cursor(), limit=PAGE_SIZE),
        )

    def _show(self, flag_history: flag_admin.FlagDetail, reach: flag_exposure.FlagReach) -> None:
        version = flag_history.versions[0]
        self.header, self.metrics = flag_header(flag_history), flag_metrics(reach)
        self.rules, self.versions = rule_rows(version.rules), version_rows(flag_history.versions)
        self.version_number, self._rules_json = version.number, json.dumps(version.rules)
        self._plan_names = dict(flag_history.plans)
        self.exposed = [exposed_row(tenant) for tenant in reach.page.rows]
        self._show_page(reach.page, "tenant")
        first = PAGE_SIZE * len(self._cursors)
        if reach.page.next_cursor or first:
            last = first + len(reach.page.rows)
            self.count_text = f"{first + 1:,}–{last:,} of {reach.exposed.tenants:,}"
        self.is_draft_outdated = self.is_editing and self.draft_version != version.number
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            page_data = await self._read(octx, self._shown_key())
        self._show(*page_data)

    # rules

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def edit_rules(self) -> None:
        self.is_editing, self.is_draft_outdated, self.draft_version = True, False, self.version_number
        self._set_draft(flag_rules.split_rules(json.loads(self._rules_json)))

    @rx.event
    @needs(actions.OP_FLAG_READ)
    async def cancel_editing(self) -> None:
        self._stop_editing()

    def _stop_editing(self) -> None:
        self.is_editing, self.is_draft_outdated, self.kind, self.value_choices = False, False, "everyone", []
        self._set_draft([])

    def _set_draft(self, rules_draft: list[dict[str, Any]]) -> None:
        self._draft_json, self.draft_rules = json.dumps(rules_draft), rule_rows(rules_draft)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def choose_kind(self, kind: str) -> None:
        self.kind = parse_choice(kind, RULE_KINDS)
        value_pairs = (
            list(self._plan_names.items())
            if kind == "plan"
            else [(trait_value, trait_value) for trait_value in TRAITS.get(kind, ())]
        )
        self.value_choices = [(value, label.replace("_", " ")) for value, label in value_pairs]

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def add_rule(self, payload: dict[str, Any]) -> EventSpec:
        form = RuleForm.read(payload)
        (rule,) = flag_rules.parse_rules([form.to_rule()], self._plan_names)
        times = (rule.get("starts_at"), rule.get("ends_at"))
        remaining = [
            draft_rule
            for draft_rule in json.loads(self._draft_json)
            if rule["kind"] != "percentage"
            or (draft_rule["kind"], draft_rule.get("starts_at"), draft_rule.get("ends_at"))
            != ("percentage", *times)
        ]  # a flag has one percentage rule: a new one replaces it
        if rule in remaining:
            raise Invalid("This rule is already in the list.", "Add another rule, or review the change.")
        self._set_draft([*remaining, rule])
        self.form_number += 1
        return rx.set_focus("kind")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def remove_rule(self, place: str) -> None:
        removed_index = int(parse_choice(place, [rule_row.index for rule_row in self.draft_rules]))
        self._set_draft(
            [draft_rule for at, draft_rule in enumerate(json.loads(self._draft_json)) if at != removed_index]
        )

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def preview_rules(self) -> None:
        """Shows the impact of the edited rules."""
        await self._preview_impact(flag_rules.merge_rules(json.loads(self._draft_json)))
        self.dialog = "save"

    async def _preview_impact(self, new_rules: list[dict[str, Any]]) -> None:
        async with self._ctx() as octx:
            effect = await flag_exposure.simulate_rules(octx, self._shown_key(), new_rules)
        self.impact = flag_impact_view(effect)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def save_rules(self, payload: dict[str, Any]) -> EventSpec:
        form, key = SaveRulesForm.read(payload), self._shown_key()
        async with self._change_page() as octx:
            new_rules = flag_rules.merge_rules(json.loads(self._draft_json))
            submission = await approved_changes.change_flag(
                octx, key, form.row_version, new_rules, reason=state_reason(octx, form.reason)
            )
            self._cursors = []
            page_data = await self._read(octx, key)
        self._stop_editing()
        killed_note = "It stays killed until you revive it."
        is_killed = page_data[0].flag.version.killed
        detail = killed_note if is_killed else "Takes effect immediately."
        return self._finish(page_data, *describe_outcome(submission, "Rules saved.", detail))

    # switches

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  there are no rows
        if dialog == "revive":
            await self._preview_impact(json.loads(self._rules_json))

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def kill_flag(self, payload: dict[str, Any]) -> EventSpec:
        form, key = ConfirmReasonForm.read(payload), self._shown_key()
        form.check(key)
        async with self._change_page() as octx:
            await flag_admin.kill_flag(octx, key, state_reason(octx, form.reason))
            self._cursors = []
            page_data = await self._read(octx, key)
        return self._finish(page_data, f"Killed {key}.", "It’s off for everyone. Its rules are kept.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def revive_flag(self, payload: dict[str, Any]) -> EventSpec:
        form, key = ReviveForm.read(payload), self._shown_key()
        form.check(key)
        async with self._change_page() as octx:
            submission = await approved_changes.change_flag(
                octx, key, form.row_version, None, reason=state_reason(octx, form.reason)
            )
            self._cursors = []
            page_data = await self._read(octx, key)
        outcome = describe_outcome(submission, f"Revived {key}.", "Its rules apply again.")
        return self._finish(page_data, *outcome)

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def move_cleanup(self, payload: dict[str, Any]) -> EventSpec:
        form, key = MoveCleanupForm.read(payload), self._shown_key()
        new_date = parse_day(form.cleanup_by) if form.cleanup_by else None
        async with self._change_page() as octx:
            await flag_admin.change_cleanup_date(
                octx, key, form.row_version, new_date, state_reason(octx, form.reason)
            )
            page_data = await self._read(octx, key)
        return self._finish(page_data, "Removal date changed.", "Its owner is responsible for the new date.")

    @rx.event
    @needs(actions.OP_FLAG_WRITE)
    async def retire_flag(self, payload: dict[str, Any]) -> EventSpec:
        form, key = ConfirmReasonForm.read(payload), self._shown_key()
        form.check(key)
        async with self._change_page() as octx:
            await flag_admin.retire_flag(octx, key, state_reason(octx, form.reason))
            self._cursors = []
            page_data = await self._read(octx, key)
        self._stop_editing()
        return self._finish(
            page_data, f"Retired {key}.", "It’s off for everyone, and its key can’t be used again."
        )

    def _finish(self, page_data: tuple[Any, ...], title: str, detail: str) -> EventSpec:
        self._show(*page_data)
        self._close_dialog()
        return rx.toast.success(title, description=detail)
