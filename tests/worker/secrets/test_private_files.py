"""What Darkroom makes is for its owner alone, and what others lay in its way is not used."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.cli.demo.process_log import ProcessLog
from tasks.usecases.submission.note import hold_note, interrupted_note, new_submission_id, write_note
from tests.factories import delivery
from worker.embedded.data_folder import kept_secrets, read_values, sole_use
from worker.errors import ConfigurationError, LedgerUnfit
from worker.ledger import Ledger
from worker.ledger.migrations import upgrade
from worker.secrets.private_files import make_private_folder, open_private

DIGEST = "0123456789abcdef"


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """A umask that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "all" / "new" / "data"
    make_private_folder(folder)
    return folder


def lock_data(data: Path) -> None:
    with sole_use(data):
        pass


def write_log(data: Path) -> None:
    with ProcessLog(data / "processes.log", aloud=False) as log:
        log.write("web", "line")


def note_submission(data: Path) -> None:
    write_note(data, new_submission_id(DIGEST)).close()


def keep_ledger(data: Path) -> None:
    ledger = Ledger(f"sqlite:///{data / 'ledger.sqlite3'}")
    try:
        upgrade(ledger.database)
        ledger.callbacks.store([delivery("ab" * 16)])
    finally:
        ledger.close()


def test_whatever_the_umask_every_file_and_folder_is_for_its_owner_alone(data: Path, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{data / 'ledger.sqlite3'}")
    upgrade(ledger.database)
    ledger.callbacks.store([delivery("ab" * 16)])
    for make in (lock_data, write_log, note_submission, kept_secrets):
        make(data)
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "all").rglob("*") if path.is_file()}
    folders = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "all").rglob("*") if path.is_dir()]
    ledger.close()
    beside = {"ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "ledger.sqlite3.lock"}
    assert beside | {"darkroom.lock", "processes.log", "secrets.json"} < made.keys()
    assert set(made.values()) == {0o600}
    assert set(folders) == {0o700}


def test_a_file_of_ours_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "lock").touch(mode=0o666)
    os.close(open_private(tmp_path / "lock", os.O_RDWR))
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


USES: list[tuple[str, Callable[[Path], object], type[Exception]]] = [
    ("darkroom.lock", lock_data, OSError),
    ("processes.log", write_log, OSError),
    ("secrets.json", kept_secrets, ConfigurationError),
    ("running.json", lambda data: read_values(data / "running.json"), ConfigurationError),
    ("ledger.sqlite3", keep_ledger, ConfigurationError),
    ("ledger.sqlite3-wal", keep_ledger, LedgerUnfit),
    ("ledger.sqlite3.lock", keep_ledger, ConfigurationError),
    (f"submissions/sub_0{'f' * 27}_{DIGEST}", lambda data: interrupted_note(data, DIGEST), ConfigurationError),
]


@pytest.mark.parametrize(("name", "use", "refused"), USES)
def test_a_link_in_place_of_a_file_is_refused_and_its_target_stays_as_it_is(
    data: Path, tmp_path: Path, name: str, use: Callable[[Path], object], refused: type[Exception]
) -> None:
    target = tmp_path / "precious"
    target.write_text("{}")
    (data / "submissions").mkdir()
    (data / name).symlink_to(target)
    with pytest.raises(refused, match="symbolic link"):
        use(data)
    assert target.read_text() == "{}"


@pytest.mark.parametrize(("name", "use", "refused"), USES)
def test_a_file_of_another_user_is_refused(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    use: Callable[[Path], object],
    refused: type[Exception],
) -> None:
    (data / "submissions").mkdir()
    (data / name).write_text("{}")
    somebody = os.geteuid() + 1
    real = os.fstat, Path.lstat
    inode = (data / name).stat().st_ino

    def owned(found: os.stat_result) -> os.stat_result:
        values = list(found)
        values[4] = somebody if found.st_ino == inode else found.st_uid
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", lambda descriptor: owned(real[0](descriptor)))
    monkeypatch.setattr(Path, "lstat", lambda path: owned(real[1](path)))
    with pytest.raises(refused, match="belongs to another user"):
        use(data)


def test_a_data_folder_behind_a_link_is_fine(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    for use in (lock_data, write_log, note_submission, kept_secrets, keep_ledger):
        use(tmp_path / "link")
    assert hold_note(tmp_path / "link", "nothing") is None


def test_a_pipe_in_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secrets.json")
    with pytest.raises(ConfigurationError):
        read_values(tmp_path / "secrets.json")
