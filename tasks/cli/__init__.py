"""The `darkroom` command: one file per command, imported when it is called, so that `--help` is fast."""

import sys
from io import TextIOWrapper

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "demo": ("tasks.cli.demo.command:demo", "Try Darkroom on this machine, without an API key"),
    "up": ("tasks.cli.up:up", "Run everything on this machine with real providers"),
    "init": ("tasks.cli.init:init", "Create a first .env: provider key, bucket, public URL"),
    "submit": ("tasks.cli.submit:submit", "Submit generations: one prompt, several, or a file"),
    "batch": ("tasks.cli.batch:batch", "Check, submit, steer and export batches: a sheet in, images out"),
    "recipe": ("tasks.cli.recipe:recipe", "Check, list and draw recipes: what follows a success"),
    "approvals": ("tasks.cli.approve:approvals", "List approvals that are waiting for a decision"),
    "approve": ("tasks.cli.approve:approve", "Pick images of a result and continue its recipe"),
    "reject": ("tasks.cli.approve:reject", "Pick none of the images"),
    "providers": ("tasks.cli.providers:providers", "Show what each provider supports"),
    "list": ("tasks.cli.list:list_generations", "List generations, newest first"),
    "show": ("tasks.cli.show:show", "Show a generation and its history"),
    "watch": ("tasks.cli.watch:watch", "Follow generations until all are done"),
    "at-risk": ("tasks.cli.at_risk:at_risk", "List results that may be lost"),
    "verify": ("tasks.cli.verify:verify", "Re-read stored results and compare them with the ledger"),
    "spend": ("tasks.cli.spend:spend", "Show spending and remaining budgets"),
    "retry": ("tasks.cli.decide:retry", "Retry failed and expired generations"),
    "unconfirmed": ("tasks.cli.unconfirmed:unconfirmed", "List submissions with an unknown outcome"),
    "resolve": ("tasks.cli.resolve:resolve", "Record what happened to unconfirmed generations"),
    "cancel": ("tasks.cli.decide:cancel", "Cancel generations that are not submitted yet"),
    "resume": ("tasks.cli.decide:resume", "Resume a paused provider"),
    "events": ("tasks.cli.events:events", "List, follow, resend and try events"),
    "dead": ("tasks.cli.dead:dead", "List abandoned work and the reasons"),
    "accept": ("tasks.cli.accept:accept", "Archive refused files unchanged, after a review"),
    "rescue": ("tasks.cli.rescue:rescue", "Import tasks that exist only at the provider"),
    "reconcile": ("tasks.cli.reconcile:reconcile", "Compare the ledger with the bucket and the providers' lists"),
    "subscriber": ("tasks.cli.subscriber:subscriber", "Add, list, test and remove event subscribers"),
    "token": ("tasks.cli.token:token", "Create, list and revoke API tokens"),
    "user": ("tasks.cli.user:user", "Add, list, change and remove console users"),
    "audit-log": ("tasks.cli.audit_log:audit_log", "Show who changed what over the API and in the console"),
    "delete": ("tasks.cli.delete:delete", "Delete generations, for example at a client's request"),
    "prune": ("tasks.cli.prune:prune", "Delete rows past their retention"),
    "db": ("tasks.cli.db:db", "Manage the ledger's tables"),
    # Named, not imported: no module in tasks imports from webhook, and the sandbox imports nothing of ours.
    "sandbox": ("webhook.sandbox.command:sandbox", "Serve sandbox providers, to test any webhook receiver"),
    "mcp": ("tasks.cli.mcp:mcp", "Serve tools for AI agents (Model Context Protocol)"),
    "doctor": ("tasks.cli.doctor:doctor", "Check everything Darkroom needs and say how to fix it"),
    "healthcheck": ("tasks.cli.healthcheck:healthcheck", "Check that a process on this machine is healthy"),
}


@click.group(cls=LateGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Submit Midjourney generations and keep every result in your own bucket.

    Commands accept --json. Results go to standard output, everything else to standard error. Exit codes: 0 done,
    1 failure, 2 usage error, 3 waiting for your decision (watch).
    """


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A prompt may contain characters that this terminal cannot show; do not fail because of them.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="darkroom")
