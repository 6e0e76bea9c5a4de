"""The installer of a lock file, in an environment of its own; without an index, so that nothing is downloaded."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support import source


def make_wheel(folder: Path) -> str:
    """Returns the requirement with the wheel's hash."""
    wheel = folder / "small_parcel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small_parcel.py", "")
        archive.writestr(
            "small_parcel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small-parcel\nVersion: 1.0\n"
        )
        archive.writestr(
            "small_parcel-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("small_parcel-1.0.dist-info/RECORD", "")
    return f"small-parcel==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def make_environment(folder: Path) -> Path:
    """Returns its Python. It uses the pip of the Python below, which saves the seconds of another one."""
    command = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", folder]
    subprocess.run(command, check=True)
    return folder / "bin" / "python"


def run_installer(python: Path, folder: Path, requirement: str) -> subprocess.CompletedProcess[str]:
    lock = folder / "requirements.lock"
    lock.write_text(f"{requirement}\n")
    environment = {
        **os.environ,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
    }
    command = [python, "-m", "shared.dev.install_packages", lock]
    return subprocess.run(
        command, cwd=source.ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_installer_shows_progress_and_refuses_a_wrong_hash(tmp_path: Path) -> None:
    requirement, python = make_wheel(tmp_path), make_environment(tmp_path / "venv")

    refused = run_installer(python, tmp_path, requirement[:-4] + "0000")
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert "The packages could not be installed; the lines above say why." in refused.stderr
    assert "Traceback" not in refused.stderr

    installed = run_installer(python, tmp_path, requirement)
    assert installed.returncode == 0, installed.stderr
    assert " of 1 installed, " in installed.stdout
    assert "Packages: done in" in installed.stdout
    assert list((tmp_path / "venv").glob("lib/*/site-packages/small_parcel.py"))
