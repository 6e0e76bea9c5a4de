"""The kinds of notifications, compared with the source: each has a text, an audience, a template and a test."""

import ast
import importlib
from pathlib import Path

import pytest

from shared.access.roles import list_permissions
from shared.core.notification_kinds import NOTIFICATION_KINDS, Audience, MailChoice, NotificationKind
from shared.jobs import mail
from tests.support import source

ROOT = Path(__file__).parents[1]
KINDS = list(NOTIFICATION_KINDS.values())
# Source: CHECKLIST NO5 (quota, dunning, invitation, security). The test that sends the kind's mail.
TESTS = {
    "access": "tests/tenancy/test_members.py::test_departure_is_announced_once_by_mail",
    "account": "tests/web/test_sign_up.py::test_sign_up_answers_alike_for_known_and_unknown_addresses_with_different_mails",
    "alerts": "tests/backoffice/test_alerts.py::test_new_alert_is_mailed_once_to_operators_who_want_it",
    "deletion": "tests/offboarding/test_deletions.py::test_notice_is_mailed_to_its_owner",
    "digest": "tests/tenancy/test_digests.py::test_digest_holds_what_happened_once_and_in_order",
    "exports": "tests/files/test_exports.py::test_person_is_notified_with_the_link_and_only_their_pages_load",
    "invitations": "tests/tenancy/test_member_mails.py::test_invitation_has_the_look_of_its_organisation",
    "members": "tests/tenancy/test_member_mails.py::test_owner_who_wants_mails_about_members_gets_one_when_a_member_leaves",
    "operator_account": "tests/web/test_sign_in_records.py::test_operator_is_mailed_when_a_colleague_resets_their_access",
    "payments": "tests/billing/test_dunning.py::test_message_reaches_members_who_may_pay_once_in_app_and_by_mail",
    "reminders": "tests/billing/test_reminders.py::test_owner_turns_off_reminders_and_keeps_payment_mails",
    "security": "tests/web/test_sign_in_records.py::test_account_event_is_recorded_in_the_organisation_and_mailed",
    "setup": "tests/tenancy/test_provisioning.py::test_welcome_mail_waits_for_the_verified_address",
    "support": "tests/backoffice/test_impersonations.py::test_owners_are_told_in_the_app_and_by_mail",
    "usage_limits": "tests/tenancy/test_mail_preferences.py::test_notification_goes_where_the_member_wants_it",
    "webhooks": "tests/outbound_webhooks/test_dispatcher.py::test_endpoint_is_paused_with_a_mail_when_it_takes_nothing",
}
OWN_PARAMETERS = {
    ("shared/billing/dunning.py", "f'{KIND_PREFIX}{message.kind}'"),
    ("shared/tenancy/impersonations.py", "kind"),
}  # checked by the tests of dunning and of support sessions


def test_every_kind_has_a_test_that_exists() -> None:
    assert TESTS.keys() == NOTIFICATION_KINDS.keys()
    for test in TESTS.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_kind_has_a_text_an_audience_and_a_template(kind: NotificationKind) -> None:
    assert kind.title[:1].isupper()
    assert not kind.title.endswith(".")
    assert kind.description.endswith(".")
    assert kind.templates
    assert all((mail.TEMPLATE_DIR / f"{template}.txt").exists() for template in kind.templates)
    assert not kind.permission or (kind.permission in list_permissions() and kind.audience is Audience.MEMBER)
    assert not kind.owners_always or kind.is_choosable


def test_every_template_of_a_mail_belongs_to_a_kind() -> None:
    templates = {path.stem for path in mail.TEMPLATE_DIR.glob("*.txt")}
    assert templates == {template for kind in KINDS for template in kind.templates}


def test_security_and_access_are_essential_and_marketing_would_not_be() -> None:
    essential = {kind.key for kind in KINDS if kind.is_essential}
    assert essential == {
        *("access", "account", "deletion", "operator_account", "security", "setup", "support")
    }
    with pytest.raises(ValueError, match="essential"):
        NotificationKind(key="x", title="X", description="X.", is_essential=True, mail_default=MailChoice.OFF)


def test_every_notification_in_the_source_is_an_event_of_a_kind() -> None:
    declared = {event for kind in KINDS for event in kind.events}
    unknown = [
        f"{path}: {ast.unparse(event)}"
        for path, tree in source.load_trees(("shared",)).items()
        for event in list_events(tree)
        if (path, ast.unparse(event)) not in OWN_PARAMETERS and resolve(path, event) not in declared
    ]
    assert unknown == [], "declare the kind in the manifest of its module"


def list_events(tree: ast.Module) -> list[ast.expr]:
    """The argument `kind` of every call of `notifications.add`."""
    return [
        next((keyword.value for keyword in node.keywords if keyword.arg == "kind"), node.args[2])
        for node in source.list_nodes(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "notifications.add"
    ]


def resolve(path: str, expression: ast.expr) -> object:
    """A constant, or the value of a name in its module. None for anything else."""
    if isinstance(expression, ast.Constant):
        return expression.value
    value: object = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for name in ast.unparse(expression).split("."):
        value = getattr(value, name, None)
    return value


def test_every_message_of_dunning_is_an_event_of_a_kind() -> None:
    """Their events are built from a prefix and a constant of the module."""
    declared = {event for kind in KINDS for event in kind.events}
    messages = [
        resolve(path, node.args[0].value.elts[0] if is_unpacked(node.args[0]) else node.args[0])  # type: ignore[attr-defined]
        for path, tree in source.load_trees(("shared",)).items()
        for node in source.list_nodes(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("DunningMessage")
    ]
    named = {f"billing.{message}" for message in messages if isinstance(message, str)}
    assert named <= declared
    assert len(named) > 8


def is_unpacked(argument: ast.expr) -> bool:
    """As in `DunningMessage(*(KIND, about, title), body)`."""
    return isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Tuple)
