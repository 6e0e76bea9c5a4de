"""Child processes that start in milliseconds: forked from a process that has loaded the product once."""

import asyncio
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

from shared import cli
from shared.core import db
from shared.core.config import settings

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["tests", "shared.cli.database", "shared.dev.seed.cast", "tests.support.workers"]
)
TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ChildResult:
    returncode: int  # negative: the signal that ended it
    output: str


def run(
    function: Callable[..., object],
    *arguments: str,
    environment: Mapping[str, str],
    timeout_s: float = TIMEOUT_S,
) -> ChildResult:
    """Call a function of a module in a process of its own, and wait until it has ended.

    `environment`: beside the one of this process. A child that hangs is killed.
    """
    with tempfile.NamedTemporaryFile() as file:
        variables = {**os.environ, **environment}
        child = SERVER.Process(target=_run_child, args=(function, arguments, variables, file.name))
        child.start()
        child.join(timeout_s)
        if child.exitcode is None:
            child.kill()
            child.join()
        assert child.exitcode is not None
        return ChildResult(child.exitcode, Path(file.name).read_text(errors="replace"))


def run_command(*words: str, environment: Mapping[str, str]) -> ChildResult:
    """`bulkhead` with these words, as from a shell. See `run`."""
    return run(_run_command, *words, environment=environment)


def _run_command(*words: str) -> None:
    sys.argv = ["bulkhead", *words]
    cli.main()


def _run_child(
    function: Callable[..., object], arguments: tuple[Any, ...], variables: Mapping[str, str], path: str
) -> None:
    output = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    _use_environment(variables)
    function(*arguments)


@dataclass(frozen=True, slots=True)
class PipedChild:
    stdin: TextIO
    stdout: TextIO
    process: Any  # the context's own class has no public name

    async def ask(self, line: str) -> str:
        """Its next line after it has read this one; "" when it has ended. Raises TimeoutError."""
        self.stdin.write(f"{line}\n")
        self.stdin.flush()
        return await self.read_line()

    async def read_line(self) -> str:
        """Raises TimeoutError."""
        line = await asyncio.wait_for(asyncio.to_thread(self.stdout.readline), ANSWER_TIMEOUT_S)
        return line.strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def wait(self) -> int:
        """Close its input and wait until it has ended. Returns its exit code."""
        self.stdin.close()
        self.process.join(TIMEOUT_S)
        return int(self.process.exitcode)


@contextmanager
def run_piped(function: Callable[..., object], *arguments: str) -> Iterator[PipedChild]:
    """Call a function of a module in a process of its own, with pipes as its standard input and output.

    It is killed at the end of the block.
    """
    child_input, stdin = SERVER.Pipe(duplex=False)
    stdout, child_output = SERVER.Pipe(duplex=False)
    streams = (child_input, child_output)
    process = SERVER.Process(target=_run_piped_child, args=(function, arguments, dict(os.environ), *streams))
    process.start()
    with open(os.dup(stdin.fileno()), "w") as writer, open(os.dup(stdout.fileno())) as reader:
        for stream in (*streams, stdin, stdout):
            stream.close()
        try:
            yield PipedChild(writer, reader, process)
        finally:
            process.kill()
            process.join()


def _run_piped_child(
    function: Callable[..., object],
    arguments: tuple[Any, ...],
    variables: Mapping[str, str],
    child_input: Connection,
    child_output: Connection,
) -> None:
    os.dup2(child_input.fileno(), 0)
    os.dup2(child_output.fileno(), 1)
    child_input.close()
    child_output.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  as long as the process
    _use_environment(variables)
    function(*arguments)


def _use_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    for cache in (settings, db.login_url, db.engine):
        cache.cache_clear()
