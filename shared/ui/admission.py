"""Whom a tab serves, and what its page says instead of its content."""

from dataclasses import dataclass, field

import reflex as rx

from shared.access.actions import ACTIONS
from shared.access.refusal_codes import PAYABLE_REASONS
from shared.core import request_ids
from shared.core.errors import DomainError, Refused
from shared.core.plurals import join_names
from shared.entitlements.features import FEATURES


@dataclass(frozen=True)
class Upsell:
    """What a page that is not in the plan would give. Nothing of it is there; nothing of it is invented."""

    feature: str = ""
    description: str = ""
    points: list[str] = field(default_factory=list)
    plans: str = ""  # that include it, as in "Pro and Business"
    next_step: str = ""  # for this person


class Admission(rx.State):
    """Whom this state tree serves, and what the page says instead of its content."""

    _owner: str = ""  # session and tenant of this tree; never leaves the server
    _path: str = ""  # path of the page it shows
    _has_loaded: bool = False  # whether a load of a page or of a part has been let through
    refusal: str = ""
    next_step: str = ""
    upsell: Upsell = Upsell()  # where paying would help
    error_id: str = ""  # request id of a load that failed
    decision_id: str = ""  # of the refusal, "" where none was recorded
    request_id: str = ""  # of that refusal

    def _set_message(self, refusal: DomainError | None = None, *, error_id: str = "") -> None:
        self.refusal, self.next_step = (refusal.detail, refusal.next_step) if refusal else ("", "")
        self.upsell, self.error_id = upsell_for(refusal), error_id
        self.decision_id = refusal.decision_id if isinstance(refusal, Refused) else ""
        self.request_id = request_ids.current() if self.decision_id else ""


def upsell_for(refusal: DomainError | None) -> Upsell:
    """Without a feature when paying would not help."""
    if not isinstance(refusal, Refused) or refusal.reason not in PAYABLE_REASONS:
        return Upsell()
    action = ACTIONS.get(refusal.action)
    feature = FEATURES.get(action.feature) if action else None
    if feature is None:
        return Upsell()
    plans = join_names(refusal.plan_names)
    return Upsell(feature.title, feature.benefit, list(feature.highlights), plans, refusal.own_step)
