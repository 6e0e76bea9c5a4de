"""`bulkhead …`: the platform from the command line. One file per group of commands."""

import sys
from typing import Annotated

import typer

from shared.core.config import Misconfigured

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
dev = typer.Typer(help="For development only.", no_args_is_help=True)
operator = typer.Typer(help="People who run the platform.", no_args_is_help=True)
app.add_typer(dev, name="dev")
app.add_typer(operator, name="operator")


@app.command()
def up() -> None:
    """Start everything: database, both apps, worker, stand-ins. Ctrl-C stops it."""
    from shared.cli.up import up as run  # noqa: PLC0415  each command loads only what it needs

    raise typer.Exit(run())


@app.command()
def serve(which: Annotated[str, typer.Argument(help="tenant, admin or stand-ins")]) -> None:
    """Serve one built app, or the stand-ins."""
    from shared.cli.serve import serve as run  # noqa: PLC0415

    run(which)


@app.command()
def worker() -> None:
    """Run jobs until stopped."""
    from shared.cli.worker import run  # noqa: PLC0415

    run()


@app.command()
def build() -> None:
    """Build both frontends, where their sources changed."""
    from shared.cli.build import build_all  # noqa: PLC0415

    build_all(say=typer.echo)


@app.command()
def migrate() -> None:
    """Make roles and database where missing, and bring the schema to its newest revision."""
    from shared.cli.database import prepare  # noqa: PLC0415

    typer.echo(f"The schema is at {prepare()}.")


@app.command()
def seed() -> None:
    """The demo cast, in development."""
    import asyncio  # noqa: PLC0415

    from shared.dev.seed import seed as run  # noqa: PLC0415

    asyncio.run(run())


@app.command("db-url")
def db_url(role: Annotated[str, typer.Option(help="app, operator or owner")] = "app") -> None:
    """Where a role of the database logs in. Holds its password."""
    from shared.core import db  # noqa: PLC0415

    if role not in ("app", "operator", "owner"):
        raise typer.BadParameter("choose app, operator or owner")
    typer.echo(db.url(role))  # type: ignore[arg-type]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def attack(context: typer.Context) -> None:
    """Generated attempts to cross tenants; --mutate removes guards and expects each removal to be caught."""
    _module("tests.attack", context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure, against peers and limits."""
    _module("tests.bench", context.args)


@dev.command()
def totp(email: str) -> None:
    """The current code of a demo operator or user."""
    import asyncio  # noqa: PLC0415

    from shared.dev.totp import code  # noqa: PLC0415

    typer.echo(asyncio.run(code(email)))


@operator.command("create")
def operator_create(
    email: str,
    role: Annotated[str, typer.Option(help="owner, engineer, billing or support")],
    name: Annotated[str, typer.Option(help="as others will see it")] = "",
) -> None:
    """Prints a first password once. The factor is enrolled at the first sign-in."""
    import asyncio  # noqa: PLC0415

    from shared.cli.operators import create  # noqa: PLC0415

    typer.echo(asyncio.run(create(email, role, name or email.partition("@")[0].title())))


def _module(name: str, arguments: list[str]) -> None:
    import subprocess  # noqa: PLC0415, S404

    raise typer.Exit(subprocess.run([sys.executable, "-m", name, *arguments], check=False).returncode)  # noqa: S603


def main() -> None:
    try:
        app()
    except Misconfigured as problem:
        typer.echo(f"Bulkhead cannot start: {problem}", err=True)
        raise SystemExit(2) from None


