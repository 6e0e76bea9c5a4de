"""What plans can include, alphabetical: the closed list, with what each does for the person who has not got it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    key: str
    title: str
    benefit: str  # one sentence: why somebody would want it
    highlights: tuple[str, ...] = ()  # what comes with it


_ALL = (
    Feature(
        "advanced_reports",
        "Advanced reports",
        "See how your organisation works before somebody asks.",
        (
            "Seats, invitations and changes week by week",
            "Who changed what, and how often",
            "What was refused to your people, and why",
        ),
    ),
    Feature(
        "anomaly_watch",
        "Anomaly watch",
        "Know about trouble in your payments before your customers do.",
        ("Declines and refunds compared with what is normal for you", "Each alarm with what caused it"),
    ),
    Feature(
        "api_access",
        "API access",
        "Let your own systems read and write what your people see.",
        ("Keys with the rights you choose", "The same rules as in the pages"),
    ),
    Feature(
        "audit_log",
        "Audit trail",
        "Know who did what, and prove that nobody changed the record.",
        (
            "Every change with before and after",
            "Filtered by person, action and time",
            "Checked by a hash chain",
        ),
    ),
    Feature(
        "custom_roles",
        "Custom roles",
        "Give people exactly the rights their work needs.",
        ("Roles of your own, from the rights you hold", "Changed for everybody who holds them at once"),
    ),
    Feature(
        "exports.csv",
        "CSV export",
        "Take your lists to a spreadsheet, as filtered on the page.",
        ("Members and the audit trail", "The columns that you see"),
    ),
    Feature(
        "priority_support",
        "Priority support",
        "An answer within four working hours.",
        ("A named person", "Before everybody else in the queue"),
    ),
    Feature(
        "sso",
        "Single sign-on",
        "Your people sign in with the account your company gave them.",
        ("Who leaves the company leaves here too",),
    ),
    Feature(
        "workspaces",
        "Workspaces",
        "Keep departments or clients apart inside one organisation.",
        ("Members and rights per workspace",),
    ),
)
FEATURES = {feature.key: feature for feature in _ALL}
