"""The roles a tenant has: the built-in ones, whose permissions are in the code, and its own.

Nobody makes, gives or touches a role that may do more than they may, and a role that somebody holds stays. Whoever
gives a role or changes one does so under the lock of the members (`tenancy.seats`), so none is given while it goes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from shared.access import actions, policy
from shared.access.permissions import Permission
from shared.access.roles import OF_EVERY_ROLE, OF_OWNERS, ROLES, Role
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.identity import users
from shared.tenancy import repository, seats
from shared.tenancy.models import RoleRow

LONGEST_NAME, LONGEST_SENTENCE = 60, 200
GIVABLE = frozenset(Permission) - OF_OWNERS


@dataclass(frozen=True, slots=True)
class Held:
    """A role and how many have it, or will have it when they accept."""

    role: Role
    people: int
    promised: int


def of(row: RoleRow) -> Role:
    """What the row means. One that was deleted may do nothing."""
    if row.builtin:
        return ROLES[row.key]
    permissions = frozenset() if row.deleted_at else frozenset(row.permissions) & GIVABLE
    return Role(row.key, row.name, row.sentence, permissions)


async def list_held(ctx: Ctx) -> Sequence[Held]:
    """All of them, in the order of `list_all`."""
    policy.require(ctx, actions.ROLE_READ)
    people, promised = await repository.count_holders(ctx), await repository.count_promised(ctx)
    return [Held(one, people.get(one.key, 0), promised.get(one.key, 0)) for one in await list_all(ctx)]


async def create(ctx: Ctx, name: str, sentence: str, permissions: Collection[str]) -> Role:
    """A role of the tenant's own. Raises Invalid, Conflict for a taken name, Refused for more than the actor may do."""
    policy.require(ctx, actions.ROLE_CREATE)
    name, sentence, wanted = _name(name), _sentence(sentence), _permissions(permissions)
    await seats.freeze(ctx, actions.ROLE_CREATE)
    policy.require_grantable(ctx, wanted)
    policy.require(ctx, actions.ROLE_CREATE, used=len(await repository.list_own_roles(ctx)))
    await _require_free(ctx, name)

    row_id = new_id("rol")
    row = RoleRow(
        tenant_id=ctx.tenant_id,
        id=row_id,
        key=row_id,
        name=name,
        builtin=False,
        sentence=sentence,
        permissions=sorted(wanted),
    )
    ctx.session.add(row)
    trail.record(ctx, "role.created", row.id, after=_told(row), role=name)
    await _changed(ctx)
    return of(row)


async def change(ctx: Ctx, role_id: str, name: str, sentence: str, permissions: Collection[str]) -> None:
    """Counts at once for everybody who holds it. Raises as `create`, and NotFound for a built-in one."""
    policy.require(ctx, actions.ROLE_CHANGE)
    name, sentence, wanted = _name(name), _sentence(sentence), _permissions(permissions)
    await seats.freeze(ctx, actions.ROLE_CHANGE)
    row = await _own(ctx, role_id)
    policy.require_grantable(ctx, wanted)
    await _require_free(ctx, name, other_than=row.key)
    before = _told(row)

    row.name, row.sentence, row.permissions = name, sentence, sorted(wanted)
    if _told(row) == before:
        return
    ctx.session.add(row)
    trail.record(ctx, "role.changed", row.id, before=before, after=_told(row), role=name)
    await _changed(ctx)
    await notices.people(ctx.session, await repository.list_holders(ctx, row.key))


async def delete(ctx: Ctx, role_id: str) -> None:
    """Raises NotFound, Refused while somebody holds it (object_state) or for one above the actor's own rights."""
    policy.require(ctx, actions.ROLE_DELETE)
    await seats.freeze(ctx, actions.ROLE_DELETE)
    row = await _own(ctx, role_id)
    people, promised = await repository.count_holders(ctx), await repository.count_promised(ctx)
    obstacle = held_said(people.get(row.key, 0), promised.get(row.key, 0))
    policy.require(ctx, actions.ROLE_DELETE, obstacle=obstacle)

    row.deleted_at = now()
    ctx.session.add(row)
    trail.record(ctx, "role.deleted", row.id, before=_told(row), role=row.name)
    await _changed(ctx)


async def get(ctx: Ctx, key: str) -> Role | None:
    """None for one that does not exist, or not any more. For services that have asked for their right."""
    if key in ROLES:
        return ROLES[key]
    row = await repository.get_role(ctx, key)
    return of(row) if row is not None and row.deleted_at is None else None


async def permissions(ctx: Ctx, key: str) -> frozenset[str] | None:
    """For `policy.require_grantable`: None where there is no such role. A deleted one may still be taken away."""
    if key in ROLES:
        return ROLES[key].permissions
    row = await repository.get_role(ctx, key)
    return of(row).permissions if row is not None else None


async def require_givable(ctx: Ctx, key: str) -> None:
    """For services that give it, under the lock of the members: it exists, and may not do more than the actor."""
    found = await get(ctx, key)
    policy.require_grantable(ctx, found.permissions if found else None)


async def name(ctx: Ctx, key: str) -> str:
    row = await repository.get_role(ctx, key)
    return row.name if row is not None else key


async def said(ctx: Ctx, key: str) -> str:
    """As the trail names it: a tenant's own role by its name of that time."""
    return key if key in ROLES else await name(ctx, key)


async def list_all(ctx: Ctx) -> Sequence[Role]:
    """From the most to the least, then the tenant's own by name. For services and pages that show roles by name."""
    return [*ROLES.values(), *(of(row) for row in await repository.list_own_roles(ctx))]


def held_said(people: int, promised: int) -> str:
    """Why a role cannot go, "" when it can: "3 people hold it, 1 invitation promises it."."""
    parts = [
        f"{count} {one if count == 1 else many}"
        for count, one, many in (
            (people, "person holds it", "people hold it"),
            (promised, "invitation promises it", "invitations promise it"),
        )
        if count
    ]
    return f"{', '.join(parts)}." if parts else ""


async def _own(ctx: Ctx, role_id: str) -> RoleRow:
    row = await repository.get_role(ctx, role_id)
    if row is None or row.builtin or row.deleted_at is not None:
        raise NotFound("This role does not exist any more.", "Reload the page.")
    policy.require_grantable(ctx, of(row).permissions)
    return row


async def _require_free(ctx: Ctx, name: str, *, other_than: str = "") -> None:
    builtin = name.casefold() in {one.name.casefold() for one in ROLES.values()}
    if builtin or await repository.is_role_name_taken(ctx, name, other_than):
        raise Conflict(f"There is a role called {name} already.", "Choose another name.", reason="name_taken")


def _name(text: str) -> str:
    name = " ".join(text.split())
    problem = ""
    if not name:
        problem = "A role needs a name."
    elif len(name) > LONGEST_NAME:
        problem = f"A name has at most {LONGEST_NAME} characters; this one has {len(name):,}."
    elif not users.can_be_shown(name):
        problem = "The name holds characters that cannot be shown."
    if problem:
        raise Invalid(problem, "Correct it and try again.", fields={"name": problem})
    return name


def _sentence(text: str) -> str:
    sentence = " ".join(text.split())
    problem = ""
    if len(sentence) > LONGEST_SENTENCE:
        problem = f"A description has at most {LONGEST_SENTENCE} characters; this one has {len(sentence):,}."
    elif sentence and not users.can_be_shown(sentence):
        problem = "The description holds characters that cannot be shown."
    if problem:
        raise Invalid(problem, "Correct it and try again.", fields={"sentence": problem})
    return sentence


def _permissions(wanted: Collection[str]) -> frozenset[str]:
    """With those that no role can be without."""
    if not frozenset(wanted) <= frozenset(Permission):
        raise Invalid("There is no such permission.", "Reload the page and choose again.")
    if not OF_OWNERS.isdisjoint(wanted):
        raise Invalid("Only owners hand an organisation over.", "Leave this permission out.")
    return frozenset(str(one) for one in (*wanted, *OF_EVERY_ROLE))


def _told(row: RoleRow) -> dict[str, Any]:
    return {"name": row.name, "sentence": row.sentence, "permissions": list(row.permissions)}


async def _changed(ctx: Ctx) -> None:
    await notices.page(ctx.session, ctx.tenant_id, "roles")
    await notices.page(ctx.session, ctx.tenant_id, "members")  # whose choices they are
