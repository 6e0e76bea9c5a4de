"""Privileged actions: those whose every use is recorded in the audit log, refused and failed ones included."""

from shared.access.actions import Action, OperatorAction

# Money, rights, keys, secrets and identity. Exports take data out of the organisation.
PRIVILEGED_NOUNS = frozenset(
    {
        "api_key",
        "audit",
        "audit_stream",
        "billing",
        "jwt_issuer",
        "owner",
        "role",
        "service_account",
        "test_data",
        "webhook",
    }
)


def is_privileged(action: Action | OperatorAction) -> bool:
    """Of an operator: all that write. Of a member: what changes money, rights or keys, and every export."""
    if isinstance(action, OperatorAction):
        return action.writes
    noun = action.permission.partition(":")[0]
    return action.name.endswith(":export") or (action.writes and noun in PRIVILEGED_NOUNS)
