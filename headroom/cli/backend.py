"""`headroom backend …`: where a team keeps its stacks' state."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape

from headroom.backend import aws as door
from headroom.backend import destroy as destruction
from headroom.backend import key as keys
from headroom.backend import migrate as migration
from headroom.backend import names as naming
from headroom.backend import policies, provision
from headroom.backend.names import GitHub, Names
from headroom.backend.policies import Policy, Role
from headroom.backend.setting import Change
from headroom.cli import options
from headroom.cli.console import ConsoleProgress, confirm, err, out
from headroom.errors import EnvironmentFailure, InputError

app = typer.Typer(help="The state backend of a team: an S3 bucket and a KMS key.", no_args_is_help=True)


class Format(StrEnum):
    text = "text"
    json = "json"


_Bucket = Annotated[
    str, typer.Option("--bucket", "-b", help="The state bucket. Bucket names are shared by all of AWS.")
]
_Region = Annotated[
    str, typer.Option("--region", "-r", help="The region of the bucket and the key.", envvar=["AWS_REGION"])
]
_Profile = Annotated[
    str | None, typer.Option("--profile", "-p", help="A profile of your AWS configuration.", show_default=False)
]
_AccessLog = Annotated[
    bool | None,
    typer.Option(
        "--access-log/--no-access-log",
        help="Keep an access log in BUCKET-access-log. Without either: leave that as it is.",
        show_default=False,
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]
_GitHub = Annotated[
    str | None, typer.Option("--github", metavar="OWNER/REPO", help="Whose jobs may take the roles of CI.")
]
_Environment = Annotated[
    str,
    typer.Option(
        "--environment",
        help="The GitHub environment that deploys; previews run in preview-NAME, drift checks in drift-NAME.",
    ),
]
_Format = Annotated[Format, typer.Option("--format", "-f", help="How to print it.")]


@app.command()
def init(
    *,
    bucket: _Bucket,
    region: _Region,
    profile: _Profile = None,
    access_log: _AccessLog = None,
    github: _GitHub = None,
    environment: _Environment = "prod",
    dry_run: _DryRun = False,
    format_: _Format = Format.text,
) -> None:
    """Create a state bucket and its key, or repair them; then print the IAM policies for a person, CI and previews.

    Safe to run again: what is as it should be is left alone, and everything changed is said.
    """
    names = naming.names(bucket, region, access_log=bool(access_log))
    hub = naming.github(github, environment) if github else None
    aws = door.connect(region, profile)
    outcome = provision.init(aws, names, access_log=access_log, dry_run=dry_run, progress=ConsoleProgress())
    arn = outcome.key_arn if outcome.key_arn != keys.NEW else _any_key(names, aws.account)
    documents = {
        str(role): _documents(role, names, aws.account, arn, hub, access_log=outcome.access_log)
        for role in (Role.person, Role.ci, Role.preview)
    }
    if format_ is Format.json:
        _print_json(
            {
                "bucket": names.bucket,
                "region": names.region,
                "key": outcome.key_arn,
                "backend": names.backend_url,
                "secretsProvider": names.secrets_provider,
                "dryRun": dry_run,
                "changes": _as_json(outcome.changes),
                "policies": documents,
            }
        )
        return
    _print_changes(outcome.changes, dry_run=dry_run)
    for role, parts in documents.items():
        for part, document in parts.items():
            out.print(f"\n[bold]IAM {part} for {role}[/bold]")
            _print_json(document)
    if hub is None:
        err.print("The trust policies of the CI and preview roles: add --github OWNER/REPO and --environment NAME.")
    if not dry_run:
        out.print(
            f"\nNext: pulumi login '{names.backend_url}'\n"
            f"      pulumi stack init STACK --secrets-provider '{names.secrets_provider}'\n"
            f"or, for a stack that exists: headroom backend migrate --stack STACK --bucket {bucket} --region {region}",
            markup=False,
        )


@app.command()
def check(bucket: _Bucket, region: _Region, profile: _Profile = None, format_: _Format = Format.text) -> None:
    """Compare a backend with what `init` makes, and report drift. Reads only; exits 1 when there is drift."""
    names = naming.names(bucket, region)
    outcome = provision.check(door.connect(region, profile), names, progress=ConsoleProgress())
    if format_ is Format.json:
        _print_json({"bucket": bucket, "region": region, "drift": _as_json(outcome.changes)})
    elif outcome.changes:
        out.print(f"drift, {len(outcome.changes)} settings (now -> as it should be):")
        _print_list(outcome.changes)
    else:
        out.print(f"no drift: {escape(bucket)} is as `headroom backend init` makes it")
    if outcome.changes:
        err.print(f"  [green]fix:[/green] headroom backend init --bucket {escape(bucket)} --region {escape(region)}")
        raise typer.Exit(1)


@app.command()
def policy(
    *,
    role: Annotated[Role, typer.Option("--for", help="Whose: admin runs init and check, destroy runs destroy.")],
    bucket: _Bucket,
    region: _Region,
    profile: _Profile = None,
    account: Annotated[
        str | None, typer.Option(help="The account's 12 digits; without it AWS is asked.", show_default=False)
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Include the access log's bucket.")] = False,
    github: _GitHub = None,
    environment: _Environment = "prod",
    trust: Annotated[
        bool, typer.Option("--trust", help="The trust policy instead (ci and preview; needs --github).")
    ] = False,
) -> None:
    """Print one least-privilege IAM policy as JSON, to hand to `aws iam put-role-policy --policy-document`.

    admin and destroy need no AWS credentials when --account is given, so they can be asked for before there are any.
    """
    names = naming.names(bucket, region, access_log=access_log)
    if account is not None and not (account.isascii() and account.isdigit() and len(account) == 12):
        raise InputError(f"{account!r} is not an AWS account", fix="--account with 12 digits")
    if trust:
        if role not in {Role.ci, Role.preview} or github is None:
            raise InputError("a trust policy is for CI", fix="--for ci or --for preview, with --github OWNER/REPO")
        owner = account or door.connect(region, profile).account
        _print_json(policies.trust(role, names, account=owner, github=naming.github(github, environment)))
        return
    if role in {Role.admin, Role.destroy}:
        owner = account or door.connect(region, profile).account
        _print_json(policies.policy(role, names, account=owner, key_arn="", access_log=access_log))
        return
    aws = door.connect(region, profile)
    if account is not None and account != aws.account:
        raise InputError(f"the credentials are of account {aws.account}, not {account}", fix="--profile NAME")
    with door.explained(aws.principal):
        key = keys.find(aws, names)
    if key is None:
        raise EnvironmentFailure(
            f"there is no key {names.alias} in {region}",
            fix=f"headroom backend init --bucket {bucket} --region {region}",
        )
    _print_json(policies.policy(role, names, account=aws.account, key_arn=key.arn))


@app.command()
def destroy(
    *,
    bucket: _Bucket,
    region: _Region,
    profile: _Profile = None,
    dry_run: _DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the bucket with all old versions, and the key after 30 days. Refused while it holds a stack."""
    names = naming.names(bucket, region)
    aws = door.connect(region, profile)
    progress = ConsoleProgress()
    if not (yes or dry_run):
        destruction.destroy(aws, names, dry_run=True, progress=progress)
        confirm(f"delete {bucket} with every old version of every state, and its key?")
    _print_changes(destruction.destroy(aws, names, dry_run=dry_run, progress=progress), dry_run=dry_run)


@app.command()
def migrate(
    *,
    stack: options.Stack,
    bucket: Annotated[str | None, typer.Option("--bucket", "-b", help="To this state bucket.")] = None,
    region: Annotated[str | None, typer.Option("--region", "-r", help="The region of --bucket.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="To this backend instead: file://~, s3://…, gs://…")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="From this backend; without it, where you are logged in."),
    ] = None,
    secrets_provider: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="How secrets are encrypted there. Without it: the bucket's key, or a passphrase."
        ),
    ] = None,
    dry_run: _DryRun = False,
) -> None:
    """Move a stack's state and secrets to another backend with the Pulumi CLI, and check that nothing differs.

    The old state stays where it is, as a backup. The stack file is replaced only after the check.
    """
    if (bucket is None) == (to is None):
        raise InputError("where to?", fix="--bucket NAME --region REGION, or --to file://~")
    if bucket is not None:
        if region is None:
            raise InputError("--bucket needs its region", fix="--region REGION")
        names = naming.names(bucket, region)
        target, provider = names.backend_url, secrets_provider or names.secrets_provider
    else:
        target, provider = str(to), secrets_provider or "passphrase"
    moved = migration.migrate(
        stack, source=from_, target=target, secrets_provider=provider, dry_run=dry_run, progress=ConsoleProgress()
    )
    verb = "would move" if dry_run else "moved"
    out.print(
        f"{verb} {stack}: {moved.resources} resources and {moved.config_values} config values to {target}", markup=False
    )
    if not dry_run:
        out.print("checked: state and config read back from there differ in nothing")
        out.print(
            f"The old state stays as a backup. Next: pulumi login '{target}', and commit {moved.stack_file.name}",
            markup=False,
        )


def _documents(
    role: Role, names: Names, account: str, key_arn: str, hub: GitHub | None, *, access_log: bool
) -> dict[str, Policy]:
    parts = {"policy": policies.policy(role, names, account=account, key_arn=key_arn, access_log=access_log)}
    if hub is not None and role is not Role.person:
        parts["trust"] = policies.trust(role, names, account=account, github=hub)
    return parts


def _any_key(names: Names, account: str) -> str:
    """Where a dry run has no key's ARN yet."""
    return f"arn:{names.partition}:kms:{names.region}:{account}:key/KEY-ID"


def _print_changes(changes: tuple[Change, ...], *, dry_run: bool) -> None:
    if not changes:
        out.print("nothing to change: everything is as it should be")
        return
    out.print("would change:" if dry_run else "changed:")
    _print_list(changes)


def _print_list(changes: tuple[Change, ...]) -> None:
    for change in changes:
        out.print(f"  {change}", markup=False)


def _as_json(changes: tuple[Change, ...]) -> list[dict[str, str]]:
    return [{"resource": c.resource, "what": c.what, "was": c.was, "now": c.now} for c in changes]


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))
