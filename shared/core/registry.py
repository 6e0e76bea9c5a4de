"""The manifests of all modules: what each declares, and the one place where others read it.

An entry point calls `shared.modules.load()`, which calls `fill`. All other code reads inside functions: at import the
registry may still be empty.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

Task = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorIndex:
    """An index of a tenant table that does not start with `tenant_id`, because it serves a list across tenants."""

    name: str
    columns: tuple[str, ...]
    reason: str
    query: str  # the function whose statement uses it, as in "backoffice.tenant_directory_repository.list_tenants"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContract:
    """How the rows of one tenant table are exported, erased and kept. Column and table names are the database's."""

    export: bool  # whether the tenant's full export contains them
    erase_after: tuple[
        str, ...
    ] = ()  # tables whose rows are erased first: those with a foreign key to this one
    retention: str | None = None  # None: kept as long as the tenant; or a class, as in "audit"
    sealed: tuple[str, ...] = ()  # columns encrypted with the tenant's key
    personal: tuple[str, ...] = ()  # columns that hold names, addresses or text about a person
    operator_indexes: tuple[OperatorIndex, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """What a module adds to the platform. Fields stay empty where it adds nothing.

    Types of higher layers are `Any`: core imports nothing, and readers know what they read.
    """

    name: str  # of its package in `shared`
    models: Sequence[type[Any]] = ()  # every SQLModel class with a table
    permissions: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # permission: built-in roles that have it
    actions: Sequence[Any] = ()  # access.actions.Action and OperatorAction
    surfaces: Mapping[str, Any] = field(default_factory=dict)  # route of a page: the action that opens it
    # Event type: text that completes "Ann …", or an audit.event_types.AuditText that an object follows.
    audit: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Sequence[str]] = field(default_factory=dict)  # action name: event types it records
    limits: Sequence[Any] = ()  # entitlements.limits.LimitKind
    tasks: Mapping[str, Task] = field(
        default_factory=dict
    )  # stored task name: handler; "platform.…" has no tenant
    tables: Mapping[type[Any], TableContract] = field(default_factory=dict)
    example: Callable[..., Awaitable[Any]] | None = (
        None  # creates an example row in a `Ctx`: demo and attack suite
    )
    events: Sequence[Any] = ()
    endpoints: Sequence[Any] = ()
    files: Sequence[Any] = ()
    meters: Sequence[Any] = ()  # access.meters.Meter
    approvals: Sequence[
        Any
    ] = ()  # backoffice.approval_kinds.ApprovalKind, one for each action that needs approval
    usage_sinks: Sequence[Any] = ()  # metering.sinks.UsageSink: where closed usage goes to be billed
    budget_sources: Sequence[Any] = ()  # metering.allowances.BudgetSource: what may be spent on metered use
    notifications: Sequence[Any] = ()  # core.notification_kinds.NotificationKind
    # ctx, user_ids, the permissions that they still have: none after the end, fewer after another role. Ends invitations,
    # links and keys that they may no longer give, in the same transaction.
    on_membership_end: Callable[..., Awaitable[None]] | None = None


_modules: dict[str, Module] = {}
_readers: list[Callable[[Module], None]] = []


def fill(modules: Sequence[Module]) -> None:
    """Adds modules that are not in it yet. Raises ValueError where two modules share a name."""
    for module in modules:
        known = _modules.setdefault(module.name, module)
        if known is not module:
            raise ValueError(f"Two modules are called {module.name}.")
    for reader in _readers:
        for module in modules:
            reader(module)


def each_module(reader: Callable[[Module], None]) -> Callable[[Module], None]:
    """Decorator: calls the function with every module, those that `fill` adds later included.

    The function has to accept the same module twice.
    """
    _readers.append(reader)
    for module in _modules.values():
        reader(module)
    return reader


def list_modules() -> list[Module]:
    return list(_modules.values())


def list_tasks() -> dict[str, Task]:
    """Handlers by stored name, of tenants and of the platform."""
    return {name: handler for module in _modules.values() for name, handler in module.tasks.items()}


def list_tables() -> dict[str, TableContract]:
    """The contract of every tenant table, by its name in the database."""
    return {
        str(model.__tablename__): contract
        for module in _modules.values()
        for model, contract in module.tables.items()
    }


def list_erase_order() -> list[str]:
    """Tenant tables in the order in which a tenant's rows are erased.

    Raises ValueError where tables wait for each other.
    """
    waits_for = {table: sorted(contract.erase_after) for table, contract in sorted(list_tables().items())}
    try:
        return list(TopologicalSorter(waits_for).static_order())
    except CycleError as circle:
        raise ValueError(f"These tables wait for each other: {', '.join(circle.args[1])}") from None
