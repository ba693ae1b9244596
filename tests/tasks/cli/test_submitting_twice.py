"""What was asked for once is never made twice: not when the connection breaks, nor when the command is repeated."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.usecases.submission import note as submission_note
from tests.commit_proxy import CommitProxy, Fate, commit_proxy
from tests.computer import DARKROOM, eventually
from tests.examples import examples
from tests.patience import patient
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import ConfigurationError
from worker.ledger import Ledger

COMPLETES = "completing the submission of "


@pytest.fixture
def proxy(postgresql_url: str) -> Iterator[CommitProxy]:
    with commit_proxy(postgresql_url) as proxy:
        yield proxy


@pytest.fixture
def server_ledger(postgresql_url: str) -> Iterator[Ledger]:
    ledger = Ledger(postgresql_url)
    yield ledger
    ledger.close()


@pytest.fixture
def through(darkroom: Darkroom, proxy: CommitProxy, monkeypatch: pytest.MonkeyPatch) -> Darkroom:
    """The command, whose ledger is behind the proxy."""
    monkeypatch.setenv("DATABASE_URL", proxy.url)
    return darkroom


def notes(darkroom: Darkroom) -> list[str]:
    folder = darkroom.data / "submissions"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def once(fate: Fate) -> Callable[[], Fate]:
    fates = [fate]
    return lambda: fates.pop() if fates else Fate.PASSED


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usecases.submission.patience.PATIENCE", 0.3)


# --- the connection breaks


@pytest.mark.parametrize("fate", [Fate.LOST_BEFORE, Fate.LOST_AFTER])
def test_a_connection_that_breaks_at_the_commit_is_nothing_to_talk_about(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger, fate: Fate
) -> None:
    proxy.on_commit = once(fate)
    result = through("submit", "a fox", "an owl", "--batch", "animals")
    made = server_ledger.generations.page()
    assert (result.exit_code, len(made)) == (0, 2)
    assert sorted(result.stdout.split()) == sorted(one.id for one in made)
    assert len({one.batch_id for one in made}) == 1
    assert (through.bells, notes(through)) == (["dispatch"], [])


def test_a_batch_that_is_found_again_is_not_made_a_second_time(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger
) -> None:
    proxy.on_commit = once(Fate.LOST_AFTER)
    assert through("submit", "a fox", "an owl").exit_code == 0
    with server_ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM batches").scalar_one() == 1


@pytest.mark.parametrize("arguments", [("a fox",), ("a fox", "an owl", "--batch", "animals"), ("--file", "-")])
def test_a_ledger_that_stays_away_may_have_written_it_and_the_same_command_completes_it(
    through: Darkroom,
    proxy: CommitProxy,
    server_ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    impatient(monkeypatch)
    proxy.on_commit = lambda: Fate.LOST_AFTER
    given = "a fox\nan owl\n" if "-" in arguments else None
    result = through("submit", *arguments, input=given)
    assert (result.exit_code, result.stdout, through.bells) == (1, "", [])
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("darkroom: the ledger cannot be used now: ")
    assert "it may have been written; `darkroom list` shows whether it was. Repeat the command" in sentence
    written = {one.id for one in server_ledger.generations.page()}
    assert written

    proxy.on_commit = lambda: Fate.PASSED
    again = through("submit", *arguments, input=given)
    assert again.exit_code == 0
    assert again.stderr.startswith(COMPLETES)
    assert set(again.stdout.split()) == written == {one.id for one in server_ledger.generations.page()}
    assert notes(through) == []

    third = through("submit", *arguments, input=given)
    assert COMPLETES not in third.stderr
    assert set(third.stdout.split()).isdisjoint(written), "it was completed: the same is a new wish from now on"


def test_a_ledger_that_was_never_reached_has_written_nothing_and_is_told_so(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2hunter2@127.0.0.1:1/ledger")
    result = darkroom("submit", "a fox")
    assert result.exit_code == 1
    assert result.stderr.endswith("; nothing was written\n")
    assert "hunter2" not in result.stderr
    assert notes(darkroom) == []


def test_who_waits_long_is_told_why(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usecases.submission.patience.PATIENCE", 2)
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2hunter2@127.0.0.1:1/ledger")
    told, _ = darkroom("submit", "a fox").stderr.splitlines()
    assert told.startswith("the ledger is unavailable (the ledger cannot be used now: ")
    assert told.endswith("): retrying for 2 s")


def test_without_a_folder_for_notes_the_error_names_the_submission_that_completes_it(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impatient(monkeypatch)
    (tmp_path / "file").touch()
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "file" / "data"))
    proxy.on_commit = lambda: Fate.LOST_AFTER
    result = through("submit", "a fox", "an owl")
    warned, error = result.stderr.splitlines()
    option = re.search(r"`(--submission \S+)`", error)
    assert option
    assert option[1] in warned
    assert "Not a directory): if it is interrupted, repeat the command with" in warned

    proxy.on_commit = lambda: Fate.PASSED
    again = through("submit", "a fox", "an owl", *option[1].split())
    made = server_ledger.generations.page()
    assert (again.exit_code, len(made)) == (0, 2)
    assert set(again.stdout.split()) == {one.id for one in made}


def test_a_follow_up_is_completed_as_well(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    parent = stories.archived(server_ledger)
    arguments = ("submit", "--parent", parent, "--action", "upscale2")
    proxy.on_commit = lambda: Fate.LOST_AFTER
    assert through(*arguments).exit_code == 1
    proxy.on_commit = lambda: Fate.PASSED
    again = through(*arguments)
    assert again.stderr.startswith(COMPLETES)
    assert again.stdout.split() == [child.id for child in server_ledger.generations.story(parent).children]


def test_keys_of_their_own_need_no_note(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    proxy.on_commit = lambda: Fate.LOST_AFTER
    result = through("submit", "a fox", "--key", "fox")
    assert result.stderr.rstrip().endswith("Repeat the command to complete it: its keys prevent duplicates")
    assert notes(through) == []
    proxy.on_commit = lambda: Fate.PASSED
    assert through("submit", "a fox", "--key", "fox").stdout.split() == [
        one.id for one in server_ledger.generations.page()
    ]


def test_a_file_needs_no_note_because_its_rows_are_found_again(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger
) -> None:
    (through.data / "mixed.jsonl").write_text('{"prompt": "a fox", "key": "fox"}\n{"prompt": "an owl"}\n')
    proxy.on_commit = once(Fate.LOST_AFTER)
    first = through("submit", "--file", "mixed.jsonl")
    again = through("submit", "--file", "mixed.jsonl")
    assert first.exit_code == again.exit_code == 0
    assert first.stdout == again.stdout
    assert notes(through) == []
    made = server_ledger.generations.page()
    assert sorted((one.prompt, one.key) for one in made) == [("a fox", "fox"), ("an owl", None)]
    assert len({one.batch_id for one in made}) == 1


# --- the command is killed


def started(darkroom: Darkroom, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [DARKROOM, *arguments], cwd=darkroom.data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def killed(darkroom: Darkroom, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command in a process of its own, which is killed when the block has seen enough."""
    process = started(darkroom, *arguments)
    try:
        yield process
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.processes
def test_killed_between_its_note_and_the_ledger_it_is_completed(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger
) -> None:
    proxy.is_open.clear()
    with killed(through, "submit", "a fox"):
        eventually(lambda: any(name.startswith("sub_") for name in notes(through)), seconds=60)
    proxy.is_open.set()
    assert server_ledger.generations.page() == []
    again = through("submit", "a fox")
    assert again.stderr.startswith(COMPLETES)
    assert again.stdout.split() == [one.id for one in server_ledger.generations.page()]
    assert notes(through) == []


@pytest.mark.processes
def test_killed_between_the_commit_and_its_ids_it_is_completed(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger
) -> None:
    proxy.on_commit = once(Fate.UNANSWERED)
    with killed(through, "submit", "a fox", "an owl") as process:
        eventually(lambda: len(server_ledger.generations.page()) == 2, seconds=60)
        assert process.poll() is None
    again = through("submit", "a fox", "an owl")
    assert again.stderr.startswith(COMPLETES)
    assert set(again.stdout.split()) == {one.id for one in server_ledger.generations.page()}
    assert len(again.stdout.split()) == 2


@pytest.mark.processes
def test_killed_before_the_commit_it_is_completed(through: Darkroom, proxy: CommitProxy, server_ledger: Ledger) -> None:
    reached = []

    def never() -> Fate:
        reached.append(1)
        eventually(lambda: len(reached) > 1, seconds=60)
        return Fate.LOST_BEFORE

    proxy.on_commit = never
    with killed(through, "submit", "a fox"):
        eventually(lambda: bool(reached), seconds=60)
    proxy.on_commit = lambda: Fate.PASSED
    reached.append(1)
    again = through("submit", "a fox")
    assert again.stderr.startswith(COMPLETES)
    assert again.stdout.split() == [one.id for one in server_ledger.generations.page()]


@pytest.mark.processes
def test_ctrl_c_says_how_to_go_on(through: Darkroom, proxy: CommitProxy, server_ledger: Ledger) -> None:
    proxy.on_commit = once(Fate.UNANSWERED)
    process = started(through, "submit", "a fox")
    try:
        eventually(lambda: len(server_ledger.generations.page()) == 1, seconds=60)
        process.send_signal(signal.SIGINT)
        proxy.close()  # what waits for the server notices only with it
        _, told = process.communicate(timeout=patient(60))
    finally:
        process.kill()
        process.communicate()
    assert "repeat the command" in told.lower()
    assert "Traceback" not in told


# --- notes


def interrupt(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Leave the note of a command that ended in the middle; its name."""
    with monkeypatch.context() as patch:
        patch.setattr("worker.ledger.generations.create.Creation.create", _power_cut)
        with pytest.raises(_PowerCut):
            darkroom("submit", *arguments)
    return notes(darkroom)[-1]


class _PowerCut(Exception):
    pass


def _power_cut(*_: object) -> None:
    raise _PowerCut


def test_a_note_is_its_owner_s_alone(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    note = darkroom.data / "submissions" / interrupt(darkroom, monkeypatch, "a fox")
    assert (note.stat().st_mode & 0o777, note.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_only_exactly_the_same_is_completed(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(darkroom, monkeypatch, "a fox", "--batch", "animals")
    same = ("a fox", "--batch", "animals")
    others = [("a fox",), ("a cat", "--batch", "animals"), ("a fox", "--batch", "pets"), (*same, "--priority", "1")]
    for other in (*others, (*same, "--follow-up", "upscale1"), (*same, "--option", "hd=true")):
        assert COMPLETES not in darkroom("submit", *other).stderr, other
    assert COMPLETES in darkroom("submit", "a fox", "--batch", "animals", "--json").stderr
    assert len(ledger.generations.page()) == 7


def test_what_another_ledger_was_asked_for_is_no_repetition(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, postgresql_url: str
) -> None:
    interrupt(darkroom, monkeypatch, "a fox")
    monkeypatch.setenv("DATABASE_URL", postgresql_url)
    assert COMPLETES not in darkroom("submit", "a fox").stderr


def test_new_makes_a_second_one_and_ends_the_first(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(darkroom, monkeypatch, "a fox")
    assert darkroom("submit", "a fox", "--new").stderr == ""
    assert notes(darkroom) == []
    assert darkroom("submit", "a fox").stderr == ""
    assert len(ledger.generations.page()) == 2


def test_two_that_were_interrupted_are_completed_one_after_the_other(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = interrupt(darkroom, monkeypatch, "a fox")
    with monkeypatch.context() as patch:
        patch.setattr("tasks.usecases.submission.write_once.interrupted_note", lambda *_: None)
        second = interrupt(darkroom, monkeypatch, "a fox")
    assert first < second
    for left in ([second], []):
        assert COMPLETES in darkroom("submit", "a fox").stderr
        assert notes(darkroom) == left
    assert len(ledger.generations.page()) == 2


@pytest.mark.processes
def test_the_same_command_twice_at_once_is_two_submissions(
    through: Darkroom, proxy: CommitProxy, server_ledger: Ledger
) -> None:
    proxy.is_open.clear()
    running = [started(through, "submit", "a fox") for _ in range(2)]
    try:
        eventually(lambda: len([name for name in notes(through) if name.startswith("sub_")]) == 2, seconds=60)
        proxy.is_open.set()
        outputs = [process.communicate(timeout=patient(60)) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert [process.returncode for process in running] == [0, 0], outputs
    assert {out.strip() for out, _ in outputs} == {one.id for one in server_ledger.generations.page()}
    assert len(server_ledger.generations.page()) == 2
    assert not any(COMPLETES in error for _, error in outputs)
    assert notes(through) == []


def test_what_is_refused_leaves_no_note(darkroom: Darkroom) -> None:
    darkroom("submit", "a fox", "--key", "fox")
    mixed = '{"prompt": "an owl", "key": "fox"}\n{"prompt": "a cat"}\n'
    refused = darkroom("submit", "-", input=mixed)
    assert refused.exit_code == 1
    assert "the key 'fox' already belongs to" in refused.stderr
    assert darkroom("submit", " ").exit_code == 1
    assert notes(darkroom) == []


def test_a_note_of_yesterday_is_ignored_and_removed(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(darkroom, monkeypatch, "a fox")
    (darkroom.data / "submissions" / ".note-left").touch()
    os.utime(darkroom.data / "submissions" / ".note-left", (1, 1))
    (darkroom.data / "submissions" / "mine.txt").touch()
    os.utime(darkroom.data / "submissions" / "mine.txt", (1, 1))
    monkeypatch.setattr(submission_note, "KEPT", timedelta(0))
    assert darkroom("submit", "a fox").stderr == ""
    assert notes(darkroom) == ["mine.txt"]


def test_a_note_that_cannot_be_opened_is_told_with_both_ways_out(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = interrupt(darkroom, monkeypatch, "a fox")
    note = darkroom.data / "submissions" / name
    note.unlink()
    note.symlink_to("/nowhere")  # as good as another user's, which root could open
    refused = darkroom("submit", "a fox")
    assert refused.exit_code == 1
    assert "cannot tell whether it was interrupted" in refused.stderr
    assert f"To complete it: --submission {name}; to submit it again: --new" in refused.stderr
    assert ledger.generations.page() == []
    assert darkroom("submit", "a fox", "--submission", name).exit_code == 0
    assert darkroom("submit", "a fox", "--new").exit_code == 0
    assert len(ledger.generations.page()) == 2


def test_a_submission_is_completed_by_its_id_and_by_nothing_else(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = interrupt(darkroom, monkeypatch, "a fox")
    other = darkroom("submit", "a cat", "--submission", name)
    assert other.exit_code == 1
    assert "was a different request: repeat it with exactly the same prompts" in other.stderr
    assert ledger.generations.page() == []
    first, second = (darkroom("submit", "a fox", "--submission", name) for _ in range(2))
    assert first.stdout == second.stdout != ""
    assert notes(darkroom) == [], "or the same would still be its repetition"
    assert darkroom("submit", "a fox").stdout != first.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--submission", "fox"), "'fox' is not a submission ID"),
        (("--submission", "sub_" + "f" * 28 + "_" + "0" * 16), "is not a submission ID"),
        (("--submission", "sub_" + "0" * 28 + "_" + "0" * 16, "--new"), "give either --new or --submission"),
    ],
)
def test_a_submission_that_makes_no_sense_is_a_mistake_of_usage(
    darkroom: Darkroom, arguments: tuple[str, ...], sentence: str
) -> None:
    result = darkroom("submit", "a fox", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


def test_a_full_disk_is_a_folder_without_room_for_notes(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.usecases.submission.note.tempfile.mkstemp", full)
    result = darkroom("submit", "a fox")
    assert result.exit_code == 0
    told = f"cannot keep a note of this submission ({darkroom.data}: No space left on device): if it is interrupted"
    assert result.stderr.startswith(told)
    assert len(ledger.generations.page()) == 1


_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
_NAMES |= st.from_regex(r"sub_[0-9a-f]{28}_[0-9a-f]{16}", fullmatch=True)


@settings(max_examples=examples(60))
@given(names=st.lists(_NAMES, max_size=4))
def test_whatever_lies_in_the_folder_a_note_is_written_found_and_removed(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    data = tmp_path_factory.mktemp("notes")
    (data / "submissions").mkdir()
    for name in names:
        if name not in {".", ".."} and len(os.fsencode(name)) < 250:
            (data / "submissions" / name).write_bytes(b"\xff{")
    digest = "0123456789abcdef"
    written = submission_note.write_note(data, submission_note.new_submission_id(digest))
    assert submission_note.interrupted_note(data, digest) is None, "it is held"
    written.close()
    submission_note.remove_old_notes(data)
    found = submission_note.interrupted_note(data, digest)
    assert found is not None
    assert found.submission_id == written.submission_id
    found.remove()
    found.close()
    assert submission_note.interrupted_note(data, digest) is None


def test_the_error_of_a_note_has_the_words_of_the_system(tmp_path: Path) -> None:
    digest = "0123456789abcdef"
    submission_note.write_note(tmp_path, submission_note.new_submission_id(digest)).close()
    (note,) = (tmp_path / "submissions").iterdir()
    note.unlink()
    note.mkdir()
    with pytest.raises(ConfigurationError, match="Is a directory"):
        submission_note.interrupted_note(tmp_path, digest)


@pytest.mark.processes
def test_ids_that_cannot_be_printed_are_told_again(darkroom: Darkroom, ledger: Ledger) -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [DARKROOM, "submit", "a fox"],
            cwd=darkroom.data,
            # As for people: what is written waits in a buffer.
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 1
    assert process.stderr.startswith("darkroom: saved, but the IDs cannot be printed: No space left on device; ")
    again = darkroom("submit", "a fox")
    assert again.stderr.startswith(COMPLETES)
    assert again.stdout.split() == [one.id for one in ledger.generations.page()]


def test_json_says_the_same_ids_again(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    name = interrupt(darkroom, monkeypatch, "a fox")
    first, second = (darkroom("submit", "a fox", "--submission", name, "--json") for _ in range(2))
    assert json.loads(first.stdout)["id"] == json.loads(second.stdout)["id"]
