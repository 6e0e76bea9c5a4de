"""The frontends: built once for an address, and again only when what they are made of changed.

A build is made in a folder of its own and takes the name of the old one when it is whole: a half-finished one never
counts, and no file of an earlier one stays behind to be served.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.core.config import ConfigurationError, settings
from shared.core.progress import ProgressLine

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
NETWORK_ERRORS = ("ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "ECONNREFUSED", "ENETUNREACH", "network")


@dataclass(frozen=True)
class BuildStep:
    title: str
    share: float  # of the time of a first build
    done_path: str  # exists in the build's folder when the step is done; "" for the last step


FIRST_BUILD_SECONDS = 60
STEPS = (
    BuildStep("loading the app", 0.11, "package.json"),
    BuildStep("compiling pages", 0.19, "node_modules"),
    BuildStep("installing npm packages", 0.36, "node_modules/.package-lock.json"),
    BuildStep("writing pages", 0.08, "routes.json"),
    BuildStep("bundling", 0.26, ""),
)


def build_all() -> None:
    """Both at the same time. While another process builds them, this waits for it.

    Raises ConfigurationError with the end of what the builder said.
    """
    if all(is_built(app) for app in APPS):
        return
    with _hold_lock():
        if fingerprints := {app: source_fingerprint(app) for app in APPS if not is_built(app)}:
            _build(fingerprints)


@contextmanager
def _hold_lock() -> Iterator[None]:
    settings().frontends_dir.mkdir(parents=True, exist_ok=True)
    with (settings().frontends_dir / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(fingerprints: dict[str, str]) -> None:
    running: dict[str, subprocess.Popen[bytes]] = {}
    progress = ProgressLine(f"Frontend of {' and '.join(fingerprints)}")
    try:
        for app in fingerprints:
            running[app] = _start_build(app)
        _wait_for_builds(running, progress)
        for app, app_fingerprint in fingerprints.items():
            _finish_build(app, running[app], app_fingerprint)
    except ConfigurationError:
        progress.clear()
        raise
    finally:
        for process in running.values():
            _kill_build(process)
    progress.finish()


def _wait_for_builds(running: dict[str, subprocess.Popen[bytes]], progress: ProgressLine) -> None:
    """Returns when all have ended, or when one has failed."""
    positions = {app: _BuildPosition(_draft_path(app)) for app in running}
    while any(process.poll() is None for process in running.values()):
        if any(process.poll() for process in running.values()):
            return
        shares = [position.update() for position in positions.values()]
        slowest = min(positions.values(), key=lambda position: position.index)
        progress.show(STEPS[slowest.index].title, sum(shares) / len(shares))
        time.sleep(0.5)


class _BuildPosition:
    """How far one build is. Within a step its usual time is the measure, because the builder says nothing."""

    def __init__(self, draft: Path) -> None:
        self.index = 0  # in STEPS
        self._draft = draft
        self._step_started_at = time.monotonic()

    def update(self) -> float:
        """Returns the share of the whole build that is done, below 1."""
        while (path := STEPS[self.index].done_path) and (self._draft / path).exists():
            self.index += 1
            self._step_started_at = time.monotonic()
        step = STEPS[self.index]
        usual_seconds = step.share * FIRST_BUILD_SECONDS
        seconds = time.monotonic() - self._step_started_at
        step_share = seconds / (
            seconds + usual_seconds / 2
        )  # two thirds after the usual time, never all of it
        return sum(done.share for done in STEPS[: self.index]) + step.share * step_share


def is_built(app: str) -> bool:
    mark = _marker_path(_build_path(app))
    return mark.exists() and mark.read_text() == source_fingerprint(app)


def source_fingerprint(app: str) -> str:
    """A digest of all sources of a build and of the public addresses, which are written into the pages."""
    digest = hashlib.sha256(f"{settings().tenant_url} {settings().admin_url}".encode())
    for name in (*SOURCES, f"{app}_app"):
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _build_path(app: str) -> Path:
    return settings().frontends_dir / app


def _draft_path(app: str) -> Path:
    return settings().frontends_dir / f"{app}.new"


def _marker_path(web: Path) -> Path:
    return web / "bulkhead.built"


def _log_path(app: str) -> Path:
    return settings().absolute_data_dir / "logs" / f"build-{app}.log"


def _start_build(app: str) -> subprocess.Popen[bytes]:
    draft, packages = _draft_path(app), _build_path(app) / "node_modules"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _log_path(app).parent.mkdir(exist_ok=True)
    if packages.exists():  # of a whole build; the only thing worth keeping
        packages.rename(draft / "node_modules")
    return subprocess.Popen(
        [sys.executable, "-m", "reflex", "export", "--no-zip", "--frontend-only", "--env", "prod"],
        cwd=ROOT,
        env=_build_environment(app),
        stdin=subprocess.DEVNULL,
        stdout=_log_path(app).open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _finish_build(app: str, process: subprocess.Popen[bytes], app_fingerprint: str) -> None:
    draft, web = _draft_path(app), _build_path(app)
    output = _log_path(app).read_text(errors="replace")
    if process.returncode or "Invalid icon tag" in output or not (draft / "build" / "client").exists():
        raise ConfigurationError(
            f"the {app} app could not be built{_failure_cause(output)}. Log: {_log_path(app)}\n{output[-2000:]}"
        )
    _marker_path(draft).write_text(app_fingerprint)
    old = web.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if web.exists():
        web.rename(old)
    draft.rename(web)
    shutil.rmtree(old, ignore_errors=True)


def _failure_cause(output: str) -> str:
    if "ENOSPC" in output or "No space left" in output:
        return ": no space left on the disk. Make room, or set BULKHEAD_DATA_DIR"
    if any(word in output for word in NETWORK_ERRORS):
        return ": no network? The first build fetches packages, later ones do not"
    return ""


def _kill_build(process: subprocess.Popen[bytes]) -> None:
    """Kill the build with its node processes: the whole process group."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _build_environment(app: str) -> dict[str, str]:
    """Node from the wheel, its registry as npm is set up here, and nothing asked of the network but that."""
    scripts = Path(sys.executable).parent
    env = os.environ | {
        "BULKHEAD_APP": app,
        "NPM_CONFIG_AUDIT": "false",
        "NPM_CONFIG_FUND": "false",
        "NPM_CONFIG_UPDATE_NOTIFIER": "false",
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "REFLEX_CHECK_LATEST_VERSION": "0",
        "REFLEX_DIR": str(settings().absolute_data_dir / "reflex"),
        "REFLEX_USE_NPM": "1",
        "REFLEX_WEB_WORKDIR": str(_draft_path(app)),
    }
    if "NPM_CONFIG_REGISTRY" not in env:  # otherwise Reflex measures several registries and uses the fastest
        result = subprocess.run(
            [scripts / "npm", "config", "get", "registry"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        env["NPM_CONFIG_REGISTRY"] = result.stdout.strip()
    return env
