"""Verify the audit logs, and publish the keys that sign their exports and anchors."""

import json

from shared.core import installation_keys
from shared.core.config import ConfigurationError
from shared.core.ids import is_id
from shared.evidence import chain_checks
from shared.evidence.chain_checks import ChainFinding
from shared.evidence.models import AnchorProblem
from shared.files import storage_registry
from shared.files.storage import OPERATORS


async def verify(tenant_id: str) -> tuple[str, bool]:
    """One line for each chain, and whether all are intact. "" verifies all chains, `operators` that of the operators.

    Raises ConfigurationError for a text that isn't the id of a tenant, NotFound.
    """
    if tenant_id not in ("", OPERATORS) and not is_id("ten", tenant_id):
        raise ConfigurationError("the id of a tenant begins with ten_")
    try:
        findings = await _verify(tenant_id)
    finally:
        await storage_registry.close()
    lines = [_describe(chain, finding) for chain, finding in findings.items()]
    return "\n".join(lines), all(finding.problem is AnchorProblem.NONE for finding in findings.values())


def list_keys() -> str:
    """As /.well-known/audit-keys.json."""
    return json.dumps(installation_keys.describe_keys(), indent=2)


async def _verify(tenant_id: str) -> dict[str, ChainFinding]:
    if tenant_id == OPERATORS:
        return {OPERATORS: await chain_checks.verify_operators()}
    if tenant_id:
        return {tenant_id: await chain_checks.verify_tenant(tenant_id)}
    return await chain_checks.verify_all()


def _describe(chain: str, finding: ChainFinding) -> str:
    if finding.problem is AnchorProblem.NONE:
        return f"{chain}: {finding.checked:,} events, intact"
    place = f" at event {finding.number:,}" if finding.number else ""
    return f"{chain}: {finding.problem.value.upper()}{place}; {finding.checked:,} events before it are intact"
