"""Child processes that start in milliseconds: forked from a process that has loaded the product once."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.core import db
from shared.core.config import settings

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["shared.cli.database", "shared.dev.seed.cast", "tests.support.workers"])
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class ChildResult:
    returncode: int  # negative: the signal that ended it
    output: str


def run(function: Callable[..., object], *arguments: str, environment: Mapping[str, str]) -> ChildResult:
    """Call a function of a module in a process of its own, and wait until it has ended.

    `environment`: beside the one of this process. A child that hangs is killed.
    """
    with tempfile.NamedTemporaryFile() as file:
        variables = {**os.environ, **environment}
        child = SERVER.Process(target=_run_child, args=(function, arguments, variables, file.name))
        child.start()
        child.join(TIMEOUT_S)
        if child.exitcode is None:
            child.kill()
            child.join()
        assert child.exitcode is not None
        return ChildResult(child.exitcode, Path(file.name).read_text(errors="replace"))


def _run_child(
    function: Callable[..., object], arguments: tuple[Any, ...], variables: Mapping[str, str], path: str
) -> None:
    output = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(variables)
    for cache in (settings, db.login_url, db.engine):
        cache.cache_clear()
    function(*arguments)
