"""The manifest of access: counts of decisions. Each module declares its own permissions and actions."""

from shared.access import models
from shared.core.registry import Module, TableContract

MODULE = Module(
    name="access",
    models=[models.DecisionCount],
    tables={models.DecisionCount: TableContract(export=False, retention="30 days", personal=("actor_id",))},
)
