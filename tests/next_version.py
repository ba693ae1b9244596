"""The ledger as the next version of Darkroom leaves it, whose migration this code does not have."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from worker.ledger import Ledger
from worker.ledger.migrations import runner

NEXT = "9999"
ADD_COLUMN = 'op.add_column("generations", sa.Column("mood", sa.Text(), nullable=True))'
_MIGRATION = f"""\\
\"\"\"What comes next\"\"\"
import sqlalchemy as sa
from alembic import op
from worker.ledger.migrations.building import create_index

revision = {NEXT!r}
down_revision = {{head!r}}
oldest_code = {{oldest!r}}


def upgrade():
    {{statement}}
"""


def upgrade_by_next_version(ledger: Ledger, folder: Path, oldest_code: str, statement: str = ADD_COLUMN) -> None:
    """Run one migration more than this version has; `oldest_code` is what that one states."""
    with next_version(folder, oldest_code, statement):
        assert runner.upgrade(ledger.database)[1] == NEXT


@contextmanager
def next_version(folder: Path, oldest_code: str, statement: str = ADD_COLUMN) -> Iterator[None]:
    """This version has one migration more meanwhile."""
    migrations = folder / "migrations"
    own = Path(runner.__file__).parent
    shutil.copytree(own, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    head = max(file.name[:4] for file in (own / "versions").glob("[0-9]*.py"))
    (migrations / "versions" / f"{NEXT}_next.py").write_text(
        _MIGRATION.format(head=head, oldest=oldest_code, statement=statement)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "__file__", str(migrations / "runner.py"))
        yield


def need(ledger: Ledger, oldest_code: str) -> None:
    """As if a migration had stated it."""
    with ledger.database.write(under_way=True) as connection:
        connection.execute(text("UPDATE alembic_version SET oldest_code = :oldest"), {"oldest": oldest_code})
