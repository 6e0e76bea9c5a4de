"""Token issuers as the page shows them, and the choices of their forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.access.roles import Role, can_grant
from shared.api_keys.issuers import IssuerView, MappedRole
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.tenancy.token_texts import ALGORITHMS
from shared.ui.tables import Column
from tenant_app.pages.api_keys.rows import ABOVE_READER_TEXT
from tenant_app.permission_boxes import CheckboxRow

ISSUER_COLUMNS = [
    Column("Name"),
    Column("Audience", hidden_on_phone=True),
    Column("Highest role", hidden_on_phone=True),
    Column("Status"),
    Column("Actions", align_end=True, label_hidden=True),
]
ALGORITHM_NOTES = {
    "RS256": "RSA. Most issuers use it.",
    "PS256": "RSA with PSS padding.",
    "ES256": "Elliptic curve P-256.",
    "EdDSA": "Elliptic curve Ed25519.",
}


@dataclass(frozen=True, kw_only=True)
class IssuerRow:
    id: str = ""
    name: str = ""
    issuer: str = ""
    audience: str = ""
    jwks_url: str = ""
    tenant_claim: str = ""
    role: str = ""  # key
    role_name: str = ""
    role_claim: str = ""
    role_map: str = ""  # lines
    status: str = ""
    tone: str = ""
    algorithms: list[CheckboxRow] = field(default_factory=list)
    switches: list[CheckboxRow] = field(default_factory=list)
    created_by: str = ""
    created_at: str = ""
    obstacle: str = ""  # why the reader can't change it, besides the plan
    version: int = 1


def algorithm_field(name: str) -> str:
    """Name of its box in the form."""
    return f"algorithm_{name.lower()}"


def issuer_row(ctx: Ctx, roles_by_key: Mapping[str, Role], issuer: IssuerView) -> IssuerRow:
    role = roles_by_key.get(issuer.role)
    is_above_reader = role is None or not can_grant(ctx.permissions, role.permissions)
    return IssuerRow(
        id=issuer.id,
        name=issuer.name,
        issuer=issuer.issuer,
        audience=issuer.audience,
        jwks_url=issuer.jwks_url,
        tenant_claim=issuer.tenant_claim,
        role=issuer.role,
        role_name=role.name if role else "A deleted role",
        role_claim=issuer.role_claim,
        role_map=show_role_map(issuer.role_map, roles_by_key),
        status="Active" if issuer.enabled else "Off",
        tone="ok" if issuer.enabled else "idle",
        algorithms=algorithm_boxes(issuer.algorithms),
        switches=switch_boxes(is_enabled=issuer.enabled),
        created_by=issuer.created_by_name,
        created_at=issuer.created_at.isoformat(),
        obstacle=ABOVE_READER_TEXT if is_above_reader else "",
        version=issuer.version,
    )


def new_issuer_row() -> IssuerRow:
    """What the form of a new one begins with."""
    return IssuerRow(
        role="member", algorithms=algorithm_boxes(["RS256"]), switches=switch_boxes(is_enabled=True)
    )


def algorithm_boxes(chosen: Sequence[str]) -> list[CheckboxRow]:
    return [
        CheckboxRow(algorithm_field(name), name, ALGORITHM_NOTES[name], name in chosen, "")
        for name in ALGORITHMS
    ]


def switch_boxes(*, is_enabled: bool) -> list[CheckboxRow]:
    return [
        CheckboxRow(
            "accepts_tokens", "Accept its tokens", "Takes effect on the next request.", is_enabled, ""
        )
    ]


def show_role_map(role_map: Sequence[MappedRole], roles_by_key: Mapping[str, Role]) -> str:
    """One line for each value: "engineering = Admin"."""
    names = {key: role.name for key, role in roles_by_key.items()}
    return "\n".join(f"{entry.value} = {names.get(entry.role, entry.role)}" for entry in role_map)


def parse_role_map(text: str, roles_by_key: Mapping[str, Role]) -> list[MappedRole]:
    """Of lines as `show_role_map` writes them. Raises Invalid."""
    keys = {role.name.casefold(): key for key, role in roles_by_key.items()}
    entries = []
    for line in filter(None, map(str.strip, text.splitlines())):
        value, separator, name = line.rpartition("=")
        key = keys.get(name.strip().casefold())
        if not separator or key is None:
            problem = f"“{line[:60]}” isn’t a value, an equals sign and the name of a role."
            raise Invalid(problem, "Write one on each line.", fields={"role_map": problem})
        entries.append(MappedRole(value=value.strip(), role=key))
    return entries


def token_example() -> str:
    return (
        'export TOKEN="a token of your issuer"\n'
        'curl -H "Authorization: Bearer $TOKEN" \\\n'
        f"  {settings().tenant_url}/api/v1/me"
    )
