"""`bulkhead …`: the platform from the command line. Each command loads only what it needs, so they start fast."""

import asyncio
import atexit
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.core.config import ConfigurationError
from shared.core.errors import DomainError
from shared.dev.postgres import EmbeddedPostgresError

ROOT = Path(__file__).parents[2]
# Commands that start nothing, have servers of their own, or ask for the database when they need it.
WITHOUT_DATABASE = ("attack", "bench", "build", "docs", "doctor", "new-module")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
dev = typer.Typer(help="For development only.", no_args_is_help=True)
operator = typer.Typer(help="People who run the platform.", no_args_is_help=True)
app.add_typer(dev, name="dev")
app.add_typer(operator, name="operator")
operator_key = typer.Typer(help="API keys of operators, for /api/operator/v1.", no_args_is_help=True)
operator.add_typer(operator_key, name="key")
user = typer.Typer(help="Accounts of people in tenants.", no_args_is_help=True)
app.add_typer(user, name="user")
stripe_account = typer.Typer(help="Stripe accounts that sell for us.", no_args_is_help=True)
app.add_typer(stripe_account, name="stripe-account")
jobs = typer.Typer(help="Background jobs: list, retry and drop.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
audit = typer.Typer(help="The audit logs: verify them, and print their keys.", no_args_is_help=True)
app.add_typer(audit, name="audit")
docs = typer.Typer(help="Pages that are generated from the code.", no_args_is_help=True)
app.add_typer(docs, name="docs")


@app.callback()
def _use_database(context: typer.Context) -> None:
    """Run, migrate, seed and prove the platform."""
    if context.invoked_subcommand not in WITHOUT_DATABASE:
        from shared.cli import database

        database.use_embedded_server()


@app.command()
def up(
    with_parent: Annotated[
        bool, typer.Option(hidden=True, help="End with the process that started this")
    ] = False,
) -> None:
    """Start everything: database, both apps, worker, stand-ins. Ctrl-C stops it."""
    from shared.cli.up import up as run

    raise typer.Exit(run(with_parent=with_parent))


@app.command()
def serve(
    part: Annotated[str, typer.Argument(help="tenant, admin or stand-ins")],
    host: Annotated[str, typer.Option(help="The address to bind")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to bind, where it is not the public address's")] = 0,
) -> None:
    """Serve one built app, or the stand-ins."""
    from shared.cli.serve import serve as run

    if part == "stand-ins":  # they use neither the database nor the modules
        run(part, host, port)
    else:
        from shared.cli import database

        with database.running_server():
            run(part, host, port)


@app.command()
def worker() -> None:
    """Run jobs until stopped."""
    from shared.cli import database
    from shared.cli.worker_process import run

    with database.running_server():
        run()


@app.command("build")  # the function is not called build: that is the module beside this file
def build_frontends() -> None:
    """Build both frontends, where their sources changed."""
    from shared.cli import frontend_build

    if all(frontend_build.is_built(app) for app in frontend_build.APPS):
        return
    from shared.cli import database

    database.use_embedded_server()  # the builders load the apps
    frontend_build.build_all()


@app.command()
def migrate(
    end_shared_logins: Annotated[
        bool, typer.Option(help="Take LOGIN from the three roles that earlier versions shared")
    ] = False,
) -> None:
    """Make roles and database where missing, and bring the schema to its newest revision."""
    from shared.cli import database

    with database.running_server(as_administrator=True):
        revision = database.prepare_database(end_group_logins=end_shared_logins)
        typer.echo(f"The schema is at {revision}.")
        if groups := database.list_group_logins():
            typer.echo(
                f"{', '.join(groups)} can still log in, as earlier versions did. When every process of every installation on"
                " this server runs this version, run `bulkhead migrate --end-shared-logins`."
            )


@app.command()
def seed() -> None:
    """Create the demo accounts and organisations that are missing. Development only."""
    from shared.cli import database
    from shared.dev.seed import cast

    with database.running_server():
        asyncio.run(cast.seed())


@app.command("db-url")
def db_url(role: Annotated[str, typer.Option(help="app, operator, worker or owner")] = "app") -> None:
    """Print the URL with which a part of this installation logs in. It contains the password that `migrate` gave it."""
    from shared.cli import database
    from shared.core.database_logins import LOGIN_KINDS

    kind = next((kind for kind in LOGIN_KINDS if kind == role), None)
    if kind is None:
        raise typer.BadParameter("choose app, operator, worker or owner")
    typer.echo(database.find_login_url(kind))


@app.command(
    add_help_option=False,  # --help is passed on as well: the module knows its own options
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def attack(context: typer.Context) -> None:
    """Generated attempts to cross tenants; --mutate removes guards and expects each removal to be caught."""
    _run_module("tests.attack", context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure speed, and compare it with limits and with other products."""
    _run_module("tests.bench", context.args)


@dev.command()
def totp(email: str) -> None:
    """A code for the second step of signing in, such as olga@bulkhead.test's."""
    from shared.cli import database
    from shared.dev import totp

    with database.running_server():
        typer.echo(asyncio.run(totp.get_unused_code(email)))


@operator.command("create")
def operator_create(
    email: str,
    role: Annotated[str, typer.Option(help="owner, engineer, billing or support")],
    name: Annotated[str, typer.Option(help="Shown to other operators")] = "",
) -> None:
    """Create an operator and print a first password, once. The second factor is enrolled at the first sign-in."""
    from shared.cli import database, operators

    with database.running_server():
        typer.echo(asyncio.run(operators.create(email, role, name or email.partition("@")[0].title())))


@operator.command("reset")
def operator_reset(email: str) -> None:
    """Print a new password, once, for an operator who lost password or device. A new factor is enrolled at sign-in."""
    from shared.cli import database, operators

    with database.running_server():
        typer.echo(asyncio.run(operators.reset_access(email)))


@operator_key.command("create")
def operator_key_create(
    email: str,
    scope: Annotated[list[str], typer.Option(help="A permission, such as operator:tenant:read; repeatable")],
    reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")],
    name: Annotated[str, typer.Option(help="What the key is for")] = "Command line",
    expires: Annotated[int, typer.Option(help="Days until it expires; 0 for never", min=0)] = 90,
    network: Annotated[
        list[str] | None, typer.Option(help="Where it works, such as 203.0.113.0/24; repeatable")
    ] = None,
) -> None:
    """Create a key of an operator and print it, once. It can do what its scopes and the operator's role allow."""
    from shared.cli import database, operators

    with database.running_server():
        created = operators.create_key(
            email, scope, name=name, days=expires, networks=network or (), reason=reason
        )
        typer.echo(asyncio.run(created))


@operator_key.command("revoke")
def operator_key_revoke(
    key_id: str, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """Refuse a key from the next request on."""
    from shared.cli import database, operators

    with database.running_server():
        typer.echo(asyncio.run(operators.revoke_key(key_id, reason=reason)))


@user.command("disable")
def user_disable(
    email: str, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """End an account's sessions and links, and block its sign-in, in every tenant."""
    from shared.cli import database, users

    with database.running_server():
        typer.echo(asyncio.run(users.disable(email, reason)))


@user.command("enable")
def user_enable(
    email: str, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """Let a disabled account sign in again."""
    from shared.cli import database, users

    with database.running_server():
        typer.echo(asyncio.run(users.enable(email, reason)))


@jobs.command("list")
def jobs_list(
    status: Annotated[str, typer.Option(help="waiting, retrying, running or failed")] = "",
    limit: Annotated[int, typer.Option(help="Number of jobs")] = 50,
) -> None:
    """Count the jobs, and print the newest with their last error."""
    from shared.cli import database, queued_jobs

    with database.running_server():
        typer.echo(asyncio.run(queued_jobs.list_jobs(status, limit)))


@jobs.command("retry")
def jobs_retry(
    job_id: int, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """Queue a job again that failed or waits for its next attempt."""
    from shared.cli import database, queued_jobs

    with database.running_server():
        typer.echo(asyncio.run(queued_jobs.retry_job(job_id, reason)))


@jobs.command("drop")
def jobs_drop(
    job_id: int, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """Delete a job that failed or waits for its next attempt: what it should have done is not done."""
    from shared.cli import database, queued_jobs

    with database.running_server():
        typer.echo(asyncio.run(queued_jobs.drop_job(job_id, reason)))


@audit.command("verify")
def audit_verify(
    chain: Annotated[str, typer.Argument(help="The id of a tenant, or operators; all without it")] = "",
) -> None:
    """Verify the audit logs from their first event and against their anchors. Exits with 1 where one is wrong."""
    from shared.cli import audit_chains, database

    with database.running_server():
        text, is_intact = asyncio.run(audit_chains.verify(chain))
    typer.echo(text)
    raise typer.Exit(0 if is_intact else 1)


@audit.command("keys")
def audit_keys() -> None:
    """Print the public keys that sign exports and anchors, as /.well-known/audit-keys.json has them."""
    from shared.cli import audit_chains

    typer.echo(audit_chains.list_keys())


@app.command("stripe-setup")
def stripe_setup() -> None:
    """Save the settings of Stripe's customer portal in our account. Can be repeated; changes nothing the second time."""
    from shared.cli import database, stripe_accounts

    with database.running_server():
        typer.echo(asyncio.run(stripe_accounts.set_up()))


@stripe_account.command("add")
def stripe_account_add(
    name: str,
    reason: Annotated[
        str, typer.Option(help="Recorded in the operator audit log")
    ] = "Added from the command line",
) -> None:
    """Add an account. Asks for its secret key and signing secret, and prints the webhook URL, once."""
    from shared.cli import database, stripe_accounts

    key, secrets = _prompt_secret("Secret key"), [_prompt_secret("Signing secret of the webhook endpoint")]
    with database.running_server():
        typer.echo(asyncio.run(stripe_accounts.add(name, key, secrets, reason)))


@stripe_account.command("secrets")
def stripe_account_secrets(
    account_id: str, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """Set the signing secrets. Asks for them, newest first, separated by commas: two while one is replaced."""
    from shared.cli import database, stripe_accounts

    secrets = _prompt_secret("Signing secrets, newest first").split(",")
    with database.running_server():
        typer.echo(asyncio.run(stripe_accounts.set_secrets(account_id, secrets, reason)))


@stripe_account.command("unpause")
def stripe_account_unpause(
    account_id: str, reason: Annotated[str, typer.Option(help="Recorded in the operator audit log")]
) -> None:
    """Resume an account that was paused because Stripe refused its key. The key must be valid again."""
    from shared.cli import database, stripe_accounts

    with database.running_server():
        typer.echo(asyncio.run(stripe_accounts.unpause(account_id, reason)))


@app.command("rotate-keys")
def rotate_keys(
    deep: Annotated[bool, typer.Option("--deep", help="Make new data keys and encrypt again")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --deep: say what would be done")] = False,
) -> None:
    """Wrap every data key with the newest of BULKHEAD_MASTER_KEYS, which every process knows by now.

    Older ones can be dropped 7 days later, when no link in a mail is signed with them any more. --deep replaces the data
    keys too, for when an old master key may be known; run it again after an interruption.
    """
    from shared.cli import database, keys
    from shared.core.progress import ProgressLine

    if dry_run and not deep:
        raise ConfigurationError("--dry-run belongs to --deep")
    with database.running_server():
        if dry_run:
            typer.echo(asyncio.run(keys.describe_renewal()))
        elif deep:
            typer.echo(asyncio.run(keys.renew_keys(ProgressLine("New data keys"))))
        else:
            typer.echo(asyncio.run(keys.rotate_keys()))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> None:
    """Check settings, database, keys, jobs, Redis, mail, Stripe and files. Exits with 1 where something failed."""
    from shared.cli.doctor import check_results, diagnosis
    from shared.core import log

    log.configure("CRITICAL")  # the results say what went wrong, and programs read them
    results = diagnosis.examine()
    typer.echo(check_results.render_json(results) if as_json else check_results.render_lines(results))
    raise typer.Exit(1 if check_results.has_failed(results) else 0)


@app.command("new-module")
def new_module(name: Annotated[str, typer.Argument(help="A plural, such as projects")]) -> None:
    """Write the files of a small complete module; docs/adding-a-module.md explains them."""
    from shared.cli.module_generator import write_module

    for path in write_module(name):
        typer.echo(path)


@docs.command("adding-a-module")
def docs_adding_a_module() -> None:
    """Print docs/adding-a-module.md: the example module, file by file."""
    from shared.cli.module_generator import render_guide

    typer.echo(render_guide(), nl=False)


@docs.command("roles")
def docs_roles() -> None:
    """Print docs/roles.md: the permissions of each built-in role."""
    from shared import modules
    from shared.access import roles_doc

    modules.load()
    typer.echo(roles_doc.render_page(), nl=False)


@docs.command("webhooks")
def docs_webhooks() -> None:
    """Print docs/webhooks.md: how events are delivered, and which there are."""
    from shared import modules
    from shared.outbound_webhooks import webhooks_doc

    modules.load()
    typer.echo(webhooks_doc.render_page(), nl=False)


@docs.command("client")
def docs_client() -> None:
    """Print docs/client/bulkhead_client.py: the Python client of the API."""
    from shared import modules

    modules.load()
    from shared.web.rest import api, python_client

    typer.echo(python_client.render_client(api.build_document()), nl=False)


def _prompt_secret(what: str) -> str:
    """Read it from standard input, so that process lists and shell histories do not show it."""
    return str(typer.prompt(what, hide_input=sys.stdin.isatty(), err=True))


def _run_module(name: str, arguments: list[str]) -> None:
    """Run a module of `tests` in a process of its own; it is never imported here."""
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=False).returncode
    )


def _spare_loaded_code() -> None:
    """The garbage collector looks less often at what is loaded, none of which is garbage, and not at all at the end.

    It costs an eighth of the processor time of a start, and about a second at the end of each process.
    """
    gc.set_threshold(50_000, 10, 10)  # Python's own is 700
    atexit.register(gc.freeze)


def main() -> None:
    os.chdir(ROOT)  # Reflex looks for its configuration in the working directory
    sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]
    _spare_loaded_code()
    try:
        app()
    except (ConfigurationError, EmbeddedPostgresError) as problem:
        typer.echo(f"bulkhead: {problem}", err=True)
        raise SystemExit(2) from None
    except DomainError as refusal:
        typer.echo(f"bulkhead: {refusal.detail} {refusal.next_step}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as problem:
        from shared.cli import database_diagnosis

        if not (sentence := database_diagnosis.explain(problem)):
            raise
        typer.echo(f"bulkhead: {sentence}", err=True)
        raise SystemExit(2) from None
