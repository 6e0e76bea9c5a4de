"""All features of plans, alphabetical, with texts for people whose plan doesn't include them."""

from dataclasses import dataclass
from enum import Enum, auto


class FeatureUse(Enum):
    """What asks for a feature. A test compares it with the actions."""

    ACTION = auto()
    COUNT = auto()  # how something is counted depends on it
    LOOK = auto()  # how mails look depends on it
    SERVICE = auto()  # people do it, so nothing in the product asks
    PLANNED = auto()  # plans name it, and no module has built it yet


@dataclass(frozen=True, slots=True)
class Feature:
    key: str
    title: str
    benefit: str  # one sentence for people without it
    highlights: tuple[str, ...] = ()  # what it includes
    use: FeatureUse = FeatureUse.ACTION


_ALL = (
    Feature(
        "advanced_reports",
        "Advanced reports",
        "Understand how your team works.",
        (
            "Seats, invitations and changes by week",
            "Most active members and types of change",
            "Blocked actions and their reasons",
        ),
    ),
    Feature(
        "anomaly_watch",
        "Anomaly watch",
        "Notice payment problems before your customers do.",
        ("Declines and refunds compared with your normal rates", "The cause of each alert"),
        use=FeatureUse.PLANNED,
    ),
    Feature(
        "api_access",
        "API access",
        "Connect your own systems to your data.",
        ("Keys with the permissions you choose", "The same rules as in the app"),
    ),
    Feature(
        "audit_log",
        "Audit log",
        "See who did what, and prove that the record is unchanged.",
        (
            "Every change with its values before and after",
            "Filters by person, action and time",
            "Verified by a hash chain",
        ),
    ),
    Feature(
        "custom_roles",
        "Custom roles",
        "Give people exactly the permissions they need.",
        ("Your own roles, from the permissions you have", "Changes take effect immediately"),
    ),
    Feature(
        "exports.csv",
        "CSV export",
        "Export filtered lists to a spreadsheet.",
        ("Members and the audit log", "The columns on the page"),
    ),
    Feature(
        "priority_support",
        "Priority support",
        "Get an answer within four working hours.",
        ("A named contact", "First place in the support queue"),
        use=FeatureUse.SERVICE,
    ),
    Feature(
        "service_account_seats",
        "Seats for service accounts",
        "Each service account uses a seat, as a member does.",
        use=FeatureUse.COUNT,
    ),
    Feature(
        "sso",
        "Single sign-on",
        "Members sign in with their company account.",
        ("Access ends with the company account",),
        use=FeatureUse.PLANNED,
    ),
    Feature(
        "white_label",
        "White label",
        "Your emails carry your brand alone.",
        ("Emails without our name",),
        use=FeatureUse.LOOK,
    ),
    Feature(
        "workspaces",
        "Workspaces",
        "Separate departments or clients within one organisation.",
        ("Members and permissions per workspace",),
        use=FeatureUse.PLANNED,
    ),
)
FEATURES = {feature.key: feature for feature in _ALL}
