"""The frontends: built once for an address, and again only when what they are made of changed."""

import hashlib
import os
import shutil
import subprocess  # noqa: S404
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.core.config import Misconfigured, settings

ROOT = Path(__file__).parents[2]
SOURCES = ("shared/ui", "shared/access", "shared/entitlements", "assets", "rxconfig.py", "requirements.lock", ".npmrc")
APPS = ("tenant", "admin")


def fingerprint(app: str) -> str:
    """Of everything a build is made of, the public addresses among it: they are written into the pages."""
    known = hashlib.sha256(f"{settings().tenant_url} {settings().admin_url}".encode())
    for name in (*SOURCES, f"{app}_app"):
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                known.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return known.hexdigest()


def web(app: str) -> Path:
    return settings().web / app


def mark(app: str) -> Path:
    return web(app) / "bulkhead.built"


def is_built(app: str) -> bool:
    return mark(app).exists() and mark(app).read_text() == fingerprint(app)


def environment(app: str) -> dict[str, str]:
    """Node from the wheel, its registry as npm is set up here, and nothing asked of the network but that."""
    scripts = Path(sys.executable).parent
    env = os.environ | {
        "BULKHEAD_APP": app,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "REFLEX_USE_NPM": "1",
        "REFLEX_DIR": str(settings().root / "reflex"),
        "REFLEX_CHECK_LATEST_VERSION": "0",
    }
    if "NPM_CONFIG_REGISTRY" not in env:  # otherwise Reflex times several and keeps the winner
        npm = scripts / "npm"
        asked = subprocess.run([npm, "config", "get", "registry"], env=env, capture_output=True, text=True, check=False)  # noqa: S603
        env["NPM_CONFIG_REGISTRY"] = asked.stdout.strip()
    return env


def build(app: str, say: Callable[[str], None]) -> None:
    """Raises Misconfigured with the end of what the builder said."""
    if is_built(app):
        return
    say(f"Building the {app} app (about a minute, only when its sources changed) …")
    known = fingerprint(app)
    mark(app).unlink(missing_ok=True)
    for left in ("build", "public", "styles", "app"):  # files of earlier builds would be served too
        shutil.rmtree(web(app) / left, ignore_errors=True)
    command = [sys.executable, "-m", "reflex", "export", "--no-zip", "--frontend-only", "--env", "prod"]
    done = subprocess.run(command, cwd=ROOT, env=environment(app), capture_output=True, text=True, check=False)  # noqa: S603
    said = done.stdout + done.stderr
    if done.returncode or "Invalid icon tag" in said or not (web(app) / "build" / "client").exists():
        step = "Is there a network, for the first build?" if "network" in said.lower() or "ENOTFOUND" in said else ""
        raise Misconfigured(f"the {app} app could not be built. {step}\n{said[-2500:]}")
    mark(app).write_text(known)


def build_all(say: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(len(APPS)) as pool:
        for done in [pool.submit(build, app, say) for app in APPS]:
            done.result()
