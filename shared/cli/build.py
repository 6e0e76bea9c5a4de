"""The frontends: built once for an address, and again only when what they are made of changed.

A build is made in a folder of its own and takes the name of the old one when it is whole: a half-finished one never
counts, and no file of an earlier one stays behind to be served.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.core.config import Misconfigured, settings

ROOT = Path(__file__).parents[2]
APPS = ("tenant", "admin")
SOURCES = (
    "shared/audit",
    "shared/tenancy",
    "shared/ui",
    "shared/access",
    "shared/entitlements",
    "assets",
    "rxconfig.py",
    "requirements.lock",
    ".npmrc",
)
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "ECONNREFUSED", "ENETUNREACH", "network")


def build_all(say: Callable[[str], None]) -> None:
    """Both at the same time. Raises Misconfigured with the end of what the builder said."""
    wanted = {app: fingerprint(app) for app in APPS if not is_built(app)}
    if not wanted:
        return
    say(f"Building the frontend of {' and '.join(wanted)} (a minute or two, once) …")
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for app in wanted:
            running[app] = _start(app)
        for app, known in wanted.items():
            _finish(app, running[app], known)
    finally:
        for process in running.values():
            _end(process)


def is_built(app: str) -> bool:
    mark = _mark(_web(app))
    return mark.exists() and mark.read_text() == fingerprint(app)


def fingerprint(app: str) -> str:
    """Of everything a build is made of, the public addresses among it: they are written into the pages."""
    known = hashlib.sha256(f"{settings().tenant_url} {settings().admin_url}".encode())
    for name in (*SOURCES, f"{app}_app"):
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                known.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return known.hexdigest()


def _web(app: str) -> Path:
    return settings().web / app


def _draft(app: str) -> Path:
    return settings().web / f"{app}.new"


def _mark(web: Path) -> Path:
    return web / "bulkhead.built"


def _log(app: str) -> Path:
    return settings().root / "logs" / f"build-{app}.log"


def _start(app: str) -> subprocess.Popen[bytes]:
    draft, packages = _draft(app), _web(app) / "node_modules"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _log(app).parent.mkdir(exist_ok=True)
    if packages.exists():  # of a whole build; the only thing worth keeping
        packages.rename(draft / "node_modules")
    return subprocess.Popen(
        [sys.executable, "-m", "reflex", "export", "--no-zip", "--frontend-only", "--env", "prod"],
        cwd=ROOT,
        env=_environment(app),
        stdin=subprocess.DEVNULL,
        stdout=_log(app).open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _finish(app: str, process: subprocess.Popen[bytes], known: str) -> None:
    draft, web = _draft(app), _web(app)
    while process.poll() is None:
        time.sleep(0.1)
    said = _log(app).read_text(errors="replace")
    if process.returncode or "Invalid icon tag" in said or not (draft / "build" / "client").exists():
        raise Misconfigured(
            f"the {app} app could not be built{_cause(said)}. Log: {_log(app)}\n{said[-2000:]}"
        )
    _mark(draft).write_text(known)
    old = web.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if web.exists():
        web.rename(old)
    draft.rename(web)
    shutil.rmtree(old, ignore_errors=True)


def _cause(said: str) -> str:
    if "ENOSPC" in said or "No space left" in said:
        return ": no space left on the disk. Make room, or set BULKHEAD_DATA_DIR"
    if any(word in said for word in NO_NETWORK):
        return ": no network? The first build fetches packages, later ones do not"
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """With its node processes: the whole group."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(app: str) -> dict[str, str]:
    """Node from the wheel, its registry as npm is set up here, and nothing asked of the network but that."""
    scripts = Path(sys.executable).parent
    env = os.environ | {
        "BULKHEAD_APP": app,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "REFLEX_CHECK_LATEST_VERSION": "0",
        "REFLEX_DIR": str(settings().root / "reflex"),
        "REFLEX_USE_NPM": "1",
        "REFLEX_WEB_WORKDIR": str(_draft(app)),
    }
    if "NPM_CONFIG_REGISTRY" not in env:  # otherwise Reflex times several and keeps the winner
        asked = subprocess.run(
            [scripts / "npm", "config", "get", "registry"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        env["NPM_CONFIG_REGISTRY"] = asked.stdout.strip()
    return env
