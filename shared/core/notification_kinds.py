"""Kinds of notifications, as modules declare them in their manifests: for whom, by which channels, and who may decline.

A kind is what a person chooses on the page of their notification settings. Each stored event of a notification in the app
and each template of a mail belongs to exactly one.
"""

from dataclasses import dataclass
from enum import StrEnum

from shared.core import registry
from shared.core.registry import Module

NOTICE_TEMPLATE = "notice"  # of kinds without a template of their own: what the notification in the app says


class Audience(StrEnum):
    """Who is told."""

    ACCOUNT = "account"  # a person about their own account, in no organisation
    INVITED = "invited"  # an address that somebody typed
    MEMBER = "member"  # members of an organisation
    OPERATOR = "operator"


class MailChoice(StrEnum):
    """When a person gets the mail of a kind."""

    NOW = "now"
    DIGEST = "digest"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationKind:
    """Raises ValueError for an essential kind that isn't sent at once."""

    key: str  # stored
    title: str
    description: str  # when it is sent, as the page of settings says
    audience: Audience = Audience.MEMBER
    permission: str = ""  # with Audience.MEMBER: which members are told; "" for whoever it is about
    events: tuple[str, ...] = ()  # stored kinds of its notifications in the app; without any it has none
    templates: tuple[str, ...] = ()  # of its mails; without any it sends none
    is_essential: bool = False  # nobody can decline it, and it is sent after a complaint
    owners_always: bool = False  # owners get its mails at once
    mail_default: MailChoice = MailChoice.NOW

    def __post_init__(self) -> None:
        if self.is_essential and self.mail_default is not MailChoice.NOW:
            raise ValueError(f"{self.key} is essential, so its mails are sent at once.")

    @property
    def is_choosable(self) -> bool:
        """Whether members choose its channels, and a link in its mails stops them."""
        return self.audience is Audience.MEMBER and not self.is_essential and bool(self.events)

    @property
    def is_mailed_as_notice(self) -> bool:
        """Whether `notifications.add` enqueues the mail; kinds with a template of their own do it themselves."""
        return self.templates == (NOTICE_TEMPLATE,)


NOTIFICATION_KINDS: dict[str, NotificationKind] = {}  # by key, of all manifests, alphabetical
_kinds_by_event: dict[str, NotificationKind] = {}


@registry.each_module
def _add_kinds(module: Module) -> None:
    """Raises ValueError for an event that two kinds claim."""
    kinds = {**NOTIFICATION_KINDS, **{kind.key: kind for kind in module.notifications}}
    NOTIFICATION_KINDS.clear()
    NOTIFICATION_KINDS.update(sorted(kinds.items()))
    for kind in module.notifications:
        for event in kind.events:
            if _kinds_by_event.setdefault(event, kind).key != kind.key:
                raise ValueError(f"Two kinds of notifications have the event {event}.")


def find_by_event(event: str) -> NotificationKind | None:
    """The kind of a stored notification; None for an event of no manifest, which is shown in the app alone."""
    return _kinds_by_event.get(event)
