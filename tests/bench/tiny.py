"""The tiny size of the bench, for tests: can every row still be measured?"""

import subprocess
import sys
from collections.abc import Sequence

from tests.bench.goals import GOALS
from tests.bench.run import PARTS
from tests.bench.servers import ROOT

WITHIN = 900  # seconds; the first run with peers installs them


def unmeasured(*parts: str, peers: bool = False) -> list[str]:
    """The rows of these parts that cannot be measured, and why. Raises AssertionError for a run that ends early."""
    command = [sys.executable, "-m", "tests.bench", "--tiny", *(f"--part={part}" for part in parts)]
    command += [] if peers else ["--no-peers"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=WITHIN)
    rows = process.stdout.splitlines()
    assert [row.split()[0] for row in rows] == names(parts), process.stderr[-3000:]
    return [row for row in rows if not row.endswith("  measured")]


def names(parts: Sequence[str]) -> list[str]:
    prefixes = tuple(prefix for part in parts for prefix in PARTS[part].prefixes)
    return [goal.name for goal in GOALS if goal.name.startswith(prefixes)]
