"""A fresh environment gets exactly what requirements.lock pins, although newer releases are on offer."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.utils import canonicalize_name

from tests.support.locks import parse_lock
from tests.support.package_index import NEWER, PackageIndex, serve_newer_releases

ROOT = Path(__file__).parents[1]
INSTALLER = (
    "shared/__init__.py",
    "shared/core/__init__.py",
    "shared/core/progress.py",
    "shared/dev/__init__.py",
    "shared/dev/install_packages.py",
)
PIPS = {"oldest": "pip==23.2.1", "newest": "pip"}  # 23.2.1 comes with Python 3.11.7
RELEASED_TOMORROW = {
    "granian": "Requires-Dist: watchfiles~=1.0; extra == 'reload'\nProvides-Extra: reload\n",
    "reflex": "Requires-Dist: granian[reload]>=2\n",
    "fastapi": "",
}
LIST_VERSIONS = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)


@pytest.fixture(scope="session", autouse=True)
def schema() -> None:
    """No database here."""


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """No rate limits here."""


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with serve_newer_releases(RELEASED_TOMORROW) as serving:
        yield serving


def run(*command: str | Path, folder: Path, environment: Mapping[str, str]) -> str:
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert process.returncode == 0, f"{command}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    return process.stdout


def list_configured_indexes(python: Path) -> list[str]:
    """The environment variable replaces what pip's files say, so their addresses go along with ours."""
    extra_indexes = os.environ.get("PIP_EXTRA_INDEX_URL")
    if extra_indexes is not None:
        return extra_indexes.split()
    addresses = []
    for section in ("global", "install"):
        command = [python, "-m", "pip", "config", "get", f"{section}.extra-index-url"]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        addresses += process.stdout.split() if process.returncode == 0 else []
    return addresses


@pytest.mark.long
@pytest.mark.parametrize("pip", PIPS)
def test_make_installs_the_pinned_versions(tmp_path: Path, index: PackageIndex, pip: str) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock", *INSTALLER):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    run(sys.executable, "-m", "venv", ".venv", folder=tmp_path, environment=os.environ)
    python = tmp_path / ".venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--upgrade", PIPS[pip], folder=tmp_path, environment=os.environ)
    addresses = " ".join([*list_configured_indexes(python), index.url])
    environment = {**os.environ, "PIP_EXTRA_INDEX_URL": addresses, "NO_PROXY": "127.0.0.1"}

    run("make", ".venv/up", f"PYTHON={sys.executable}", folder=tmp_path, environment=environment)

    run(python, "-m", "pip", "check", folder=tmp_path, environment=environment)
    installed = json.loads(run(python, "-c", LIST_VERSIONS, folder=tmp_path, environment=environment))
    versions = {canonicalize_name(name): version for name, version in installed.items()}
    pins = parse_lock((ROOT / "requirements.lock").read_text())
    marker_values = {key: str(value) for key, value in default_environment().items()}
    expected = {name: pin.version for name, pin in pins.items() if pin.applies(marker_values)}
    assert {name: versions.get(name) for name in expected} == expected
    assert versions.keys() - expected.keys() <= {"pip", "setuptools"}
    # Pip has seen the newer releases: it would take them where it may.
    assert index.requested >= {f"/simple/{name}/" for name in RELEASED_TOMORROW}
    wish = ["download", "--no-deps", "--dest", "newer", "granian"]
    run(python, "-m", "pip", *wish, folder=tmp_path, environment=environment)
    assert [file.name for file in (tmp_path / "newer").iterdir()] == [f"granian-{NEWER}-py3-none-any.whl"]
