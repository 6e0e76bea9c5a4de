"""Names of variables and parameters; the share of vague ones may only fall."""

import ast
import math
from collections.abc import Iterable

import pytest

from tests.support import source

VAGUE_NAMES = frozenset(
    "done found given here known one ours own rest said taken theirs there those told turn turns wanted what which who"
    " whom been".split()
)
PACKAGES = {"product": source.PACKAGES, "tests": ("tests",)}
# Vague names per 10,000. A ceiling is only ever lowered, and never set above its limit.
CEILINGS = {"product": 2, "tests": 4}
CEILING_LIMITS = {"product": 40, "tests": 80}
SLACK = 5  # a measurement further below its ceiling than this asks for a lower ceiling


@pytest.mark.parametrize("area", CEILINGS)
def test_vague_names_stay_at_the_ceiling(area: str) -> None:
    measured = measure_vague_names(source.load_trees(PACKAGES[area]).values())
    assert describe_mismatch(measured, CEILINGS[area]) == ""


@pytest.mark.parametrize("area", CEILINGS)
def test_ceiling_is_never_set_above_its_limit(area: str) -> None:
    assert CEILINGS[area] <= CEILING_LIMITS[area]


def test_count_covers_variables_and_parameters_wherever_they_occur() -> None:
    tree = ast.parse("def load(found, *, known=None):\n    return [one for one in found if one != known]\n")
    assert measure_vague_names([tree]) == 10_000
    tree = ast.parse("members = [member.found for member in load_members(given='x')]\n")
    assert measure_vague_names([tree]) == 0, "attributes and keywords are named elsewhere"


def test_measurement_above_the_ceiling_is_reported() -> None:
    assert describe_mismatch(12.4, 12) == "12.4 vague names per 10,000, at most 12: rename them to nouns"


def test_measurement_near_the_ceiling_is_accepted() -> None:
    assert describe_mismatch(12.0, 12) == ""
    assert describe_mismatch(7.0, 12) == ""


def test_measurement_clearly_below_the_ceiling_asks_for_a_lower_one() -> None:
    assert describe_mismatch(6.2, 12) == "6.2 vague names per 10,000: lower the ceiling from 12 to 7"


def measure_vague_names(trees: Iterable[ast.Module]) -> float:
    """Vague names per 10,000 uses of variables and names of parameters."""
    names = [
        node.id if isinstance(node, ast.Name) else node.arg
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.arg)
    ]
    return 10_000 * sum(name in VAGUE_NAMES for name in names) / max(len(names), 1)


def describe_mismatch(measured: float, ceiling: int) -> str:
    """Says what is wrong with the measurement or the ceiling; "" when both fit."""
    if measured > ceiling:
        return f"{measured:.1f} vague names per 10,000, at most {ceiling}: rename them to nouns"
    if measured < ceiling - SLACK:
        return f"{measured:.1f} vague names per 10,000: lower the ceiling from {ceiling} to {math.ceil(measured)}"
    return ""
