"""One list of steps: Celery's tasks and queues, the ledger's due-queries and the story of the flow agree with it."""

import re
from pathlib import Path

import tasks
from worker.celery import app
from worker.ledger.maintenance.due_work import _DUE
from worker.steps import FOREIGN_TASKS, PICK_FAILED_TASK, PICKED_TASK, QUEUES, REQUEST_QUEUE, REQUEST_TASK, Step

ROOT = Path(__file__).parents[2]


def test_each_step_has_its_task_in_its_own_module_and_beside_them_there_are_those_of_others():
    app.loader.import_default_modules()
    # Other tests add theirs.
    ours = {name: task for name, task in app.tasks.items() if not name.startswith(("celery.", "tests."))}
    assert {name: task.__module__ for name, task in ours.items()} == {
        **{step: step.module for step in Step}, REQUEST_TASK: "tasks.create",
        PICKED_TASK: "tasks.picking", PICK_FAILED_TASK: "tasks.picking",
    }  # fmt: skip


def test_the_names_in_messages_are_those_of_every_version():
    assert sorted(Step) == [
        *("archive", "dispatch", "follow_up", "ingest", "manifest", "notify", "ping", "poll", "prune", "reconcile"),
        *("submit", "thumbnail"),
    ]  # fmt: skip


def test_celery_carries_each_step_in_its_queue():
    assert {step: app.amqp.router.route({}, step)["queue"].name for step in Step} == {s: s.queue for s in Step}
    assert {app.amqp.router.route({}, name)["queue"].name for name in FOREIGN_TASKS} == {REQUEST_QUEUE}


def test_the_procfile_starts_workers_for_all_queues():
    served = re.findall(r" -Q (\S+)", (ROOT / "Procfile").read_text())
    assert {queue for queues in served for queue in queues.split(",")} == {*QUEUES, REQUEST_QUEUE}


def test_the_ledger_finds_what_is_due_of_each_step_that_is_not_started_by_the_clock_alone():
    assert {*_DUE} == {step for step in Step if step.is_found_due}


def test_the_story_of_the_flow_tells_of_each_step():
    lines = [re.split(r"  +", line) for line in (tasks.__doc__ or "").splitlines()]
    wakes = {columns[1].removesuffix(".py"): columns[-1] for columns in lines if columns[1:] and ".py" in columns[1]}
    assert sorted(f"tasks.{module}" for module in wakes) == sorted(step.module for step in Step)
    assert {word for words in wakes.values() for word in words.split(", ")} - {"-", "any"} <= {*Step}
