"""How attention to tenants is named, and the list of those that need it."""

from shared.backoffice.attention_kinds import Attention

ATTENTION_LABELS = {
    Attention.TRIAL_ENDING: "Trials ending",
    Attention.PAST_DUE: "Past due",
    Attention.LIMIT_NEAR: "Near a limit",
    Attention.STUCK_SETUP: "Stuck setup",
    Attention.FAILING: "Failing requests",
}


def attention_url(attention: Attention) -> str:
    return f"/tenants?needing={attention.value}"
