"""`darkroom resolve`: what a person has found out about submissions that nobody else could tell of."""

import click

from tasks.cli.connection import open_ledger, open_services, ring
from tasks.cli.output import json_option, print_json
from tasks.cli.who import who
from worker.account_keys import DEFAULT_ACCOUNT
from worker.errors import NotFound
from worker.ledger.unclear import Decision, Person
from worker.services import Services

_DONE = {
    Decision.CHARGED: "failed: it was charged, and there is no result",
    Decision.NOT_CHARGED: "failed: it was not charged; `darkroom retry` submits it again",
    Decision.RESUBMIT: "queued: it is submitted again",
}


@click.command()
@click.argument("generation_ids", nargs=-1, required=True, metavar="GENERATION...")
@click.option("--charged", is_flag=True, help="The provider took it and charged for it.")
@click.option("--not-charged", is_flag=True, help="The provider did not take it.")
@click.option("--resubmit", is_flag=True, help="Submit it again: it may be paid twice.")
@click.option("--task-id", metavar="TASK", help="With --charged: the provider's id of it; its result is asked for.")
@click.option("--why", default="", metavar="TEXT", help="How you know; kept with your name.")
@json_option
def resolve(
    generation_ids: tuple[str, ...], *, charged: bool, not_charged: bool, resubmit: bool, task_id: str | None, why: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Decide what became of unconfirmed generations.

    All of them or none: a wrong id, or one that is not unconfirmed (any more), changes nothing.
    """
    if charged + not_charged + resubmit != 1:
        raise click.UsageError("say one thing that you found out: --charged, --not-charged, or --resubmit")
    decision = Decision.CHARGED if charged else Decision.NOT_CHARGED if not_charged else Decision.RESUBMIT
    if task_id is not None and (decision is not Decision.CHARGED or len(generation_ids) > 1 or not task_id.strip()):
        raise click.UsageError("--task-id goes with --charged and one GENERATION")
    chosen, person = list(dict.fromkeys(generation_ids)), Person(who(), " ".join(why.split()))
    if task_id is None:
        with open_ledger() as here:
            here.ledger.unclear.resolve(chosen, decision, person)
    else:
        with open_services() as here:
            _check_task(here, chosen[0], task_id)
            here.ledger.unclear.resolve(chosen, decision, person, task_id)
    message = _DONE[decision] if task_id is None else f"submitted: it is task {task_id}, which is asked for now"
    for generation_id in chosen:
        if as_json:
            facts = {"decision": decision, "by": person.name, "why": person.why, "task_id": task_id}
            print_json({"id": generation_id, **facts, "message": message})
        else:
            click.echo(f"{generation_id} {message}")
    ring(*(["poll"] if task_id else []), "dispatch")


def _check_task(here: Services, generation_id: str, task_id: str) -> None:
    """Raise NotFound for a task that the provider does not know: adopted, it would soon be a failure."""
    (generation,) = here.ledger.queries.get([generation_id])
    provider = here.provider(generation.provider, generation.account)
    if task_id not in provider.fetch([task_id]):
        account = generation.account or DEFAULT_ACCOUNT
        # Each account knows its own tasks and no others.
        whose = "" if account == DEFAULT_ACCOUNT else f" of its account {account}"
        raise NotFound(f"{provider.title} knows no task {task_id}{whose}: copy its id again; nothing was changed")
