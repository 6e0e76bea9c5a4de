"""What members choose for each kind of notification: in the app or not; by mail at once, in the digest or not at all."""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.core.context import Ctx
from shared.core.errors import Conflict, Invalid
from shared.core.notification_kinds import (
    NOTIFICATION_KINDS,
    Audience,
    MailChoice,
    NotificationKind,
)
from shared.tenancy import mail_preference_repository, member_repository
from shared.tenancy.models import MailPreference

PAYMENTS = "payments"  # failed payments, ending subscriptions, received payments
REMINDERS = "reminders"  # renewals, cards that expire
OWNERS_CANNOT_DECLINE = "Owners always receive payment emails."
ESSENTIAL = "Always sent: it protects your account or your access."
AUDIENCES = (Audience.ACCOUNT, Audience.MEMBER)  # whose kinds a member sees


@dataclass(frozen=True, slots=True)
class MailPreferenceView:
    kind: NotificationKind
    in_app: bool
    mail: MailChoice
    locked_reason: str = ""  # why its mail cannot be chosen

    @property
    def enabled(self) -> bool:
        return self.mail is not MailChoice.OFF


async def list_my_preferences(ctx: Ctx) -> dict[str, MailPreferenceView]:
    """The actor's preferences by kind, of the kinds that are sent to them; essential ones last."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    preferences = await mail_preference_repository.list_mail_preferences(ctx, person_id)
    is_owner = person_id in await member_repository.list_owner_ids(ctx)
    views = [
        _describe(kind, preferences.get(kind.key), is_owner=is_owner)
        for kind in NOTIFICATION_KINDS.values()
        if _is_sent_to(ctx, kind)
    ]
    return {view.kind.key: view for view in sorted(views, key=lambda view: view.kind.is_essential)}


def _is_sent_to(ctx: Ctx, kind: NotificationKind) -> bool:
    if kind.audience not in AUDIENCES or not (kind.is_choosable or kind.is_essential):
        return False
    return not kind.permission or policy.has_permissions(ctx, [kind.permission])


def _describe(kind: NotificationKind, row: MailPreference | None, *, is_owner: bool) -> MailPreferenceView:
    locked_reason = _find_lock(kind, is_owner=is_owner)
    return MailPreferenceView(
        kind,
        in_app=bool(kind.events) and (row is None or row.in_app or not kind.is_choosable),
        mail=MailChoice.NOW if locked_reason else _read_mail_choice(kind, row),
        locked_reason=locked_reason,
    )


def _find_lock(kind: NotificationKind, *, is_owner: bool) -> str:
    if not kind.is_choosable:
        return ESSENTIAL
    return OWNERS_CANNOT_DECLINE if kind.owners_always and is_owner else ""


def _read_mail_choice(kind: NotificationKind, row: MailPreference | None) -> MailChoice:
    if not kind.templates:
        return MailChoice.OFF
    if row is None:
        return kind.mail_default
    if not row.enabled:
        return MailChoice.OFF
    return MailChoice.DIGEST if row.digest else MailChoice.NOW


async def set_preference(ctx: Ctx, kind: str, enabled: bool) -> None:
    """As `choose`, by mail at once or not at all; what was chosen for the app stays."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    row = await mail_preference_repository.find_mail_preference(ctx, person_id, kind)
    mail = MailChoice.NOW if enabled else MailChoice.OFF
    await choose(ctx, kind, in_app=row is None or row.in_app, mail=mail)


async def choose(ctx: Ctx, kind: str, *, in_app: bool, mail: MailChoice) -> None:
    """The actor's channels for one kind.

    Raises Invalid for an unknown kind, Conflict for an essential one and for mails that owners always receive.
    """
    policy.require(ctx, actions.NOTIFICATION_READ)
    declared = NOTIFICATION_KINDS.get(kind)
    if declared is None or declared.audience not in AUDIENCES:
        raise _unknown_kind()
    if not declared.is_choosable:
        raise Conflict(ESSENTIAL, "Choose another kind.")
    person_id = policy.require_person(ctx)
    is_locked = declared.owners_always and mail is not MailChoice.NOW
    if is_locked and person_id in await member_repository.list_owner_ids(ctx):
        raise Conflict(OWNERS_CANNOT_DECLINE, "Transfer ownership first.")
    await mail_preference_repository.save_mail_preference(
        ctx,
        person_id,
        kind,
        enabled=mail is not MailChoice.OFF,
        digest=mail is MailChoice.DIGEST,
        in_app=in_app,
    )


async def get_my_preference(ctx: Ctx, kind: str) -> MailPreferenceView:
    """Raises Invalid for a kind that isn't sent to the actor."""
    preferences = await list_my_preferences(ctx)
    if kind not in preferences:
        raise _unknown_kind()
    return preferences[kind]


def _unknown_kind() -> Invalid:
    return Invalid("There is no such kind of notification.", "Choose one from the list.")


async def get_preference(ctx: Ctx, user_id: str, kind: NotificationKind) -> MailPreferenceView:
    """What holds for a member. For services and jobs that notify."""
    row = await mail_preference_repository.find_mail_preference(ctx, user_id, kind.key)
    is_owner = kind.owners_always and user_id in await member_repository.list_owner_ids(ctx)
    return _describe(kind, row, is_owner=is_owner)


async def is_mail_enabled(ctx: Ctx, user_id: str, kind: str) -> bool:
    """Whether a mail of its own is sent at once. For jobs that send emails.

    False for a kind that this person gets in the digest: `notifications.add` sees to that.
    """
    declared = NOTIFICATION_KINDS.get(kind)
    if declared is None:
        return True
    return (await get_preference(ctx, user_id, declared)).mail is MailChoice.NOW


async def is_mail_declined(ctx: Ctx, user_id: str, kind: str) -> bool:
    """Whether the person has turned the mails off since one was enqueued. For jobs that send emails."""
    declared = NOTIFICATION_KINDS.get(kind)
    if declared is None:
        return False
    return (await get_preference(ctx, user_id, declared)).mail is MailChoice.OFF
