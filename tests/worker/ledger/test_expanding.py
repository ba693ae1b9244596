"""From the baseline on migrations only expand: nothing that older code uses goes, and nobody waits for a table."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from worker.ledger import migrations
from worker.ledger.database import REVISION

#: what exists up to here was never released and is not looked at; it moves no more after the first release
BASELINE = "0024"
SQUAWK = Path(sys.executable).with_name("squawk")
RULES = Path(__file__).with_name("squawk.toml")


def sql_after(revision: str, migrations: Path) -> str:
    config = Config(output_buffer=io.StringIO())
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    command.upgrade(config, f"{revision}:head", sql=True)
    return str(config.output_buffer.getvalue())


def complaints(sql: str) -> list[str]:
    """What squawk says about it, each with its line."""
    said = subprocess.run(
        [SQUAWK, "--config", RULES, "--reporter", "json", "--stdin-filepath", "migrations.sql"],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode in {0, 1}, said.stderr
    lines = sql.splitlines()
    return [f"{one['rule_name']}: {lines[one['line'] - 1]} ({one['message']})" for one in json.loads(said.stdout)]


def folder() -> Path:
    return Path(migrations.__file__).parent


def test_migrations_after_the_baseline_only_expand():
    assert complaints(sql_after(BASELINE, folder())) == []


def test_the_baseline_is_one_of_the_migrations_and_lets_code_before_it_begin_nothing():
    script = ScriptDirectory(str(folder())).get_revision(BASELINE)
    assert script.module.oldest_code == BASELINE


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ('op.drop_column("generations", "turn")', "ban-drop-column"),
        ('op.drop_table("prunes")', "ban-drop-table"),
        ('op.rename_table("prunes", "pruned")', "renaming-table"),
        ('op.alter_column("generations", "turn", new_column_name="place")', "renaming-column"),
        ('op.alter_column("generations", "turn", type_=sa.Text())', "changing-column-type"),
        ('op.alter_column("generations", "key", nullable=False)', "adding-not-nullable-field"),
        ('op.add_column("generations", sa.Column("mood", sa.Text(), nullable=False))', "adding-required-field"),
        ('op.create_index("ix_mood", "generations", ["key"])', "require-concurrent-index-creation"),
        ('op.drop_index("ix_generations_waiting")', "require-concurrent-index-deletion"),
        ('op.create_check_constraint("c", "generations", "turn > 0")', "constraint-missing-not-valid"),
        ('op.create_unique_constraint("u", "generations", ["key"])', "disallowed-unique-constraint"),
    ],
)
def test_one_that_takes_something_away_or_keeps_others_waiting_is_found(tmp_path: Path, statement: str, rule: str):
    assert rule in {one.partition(":")[0] for one in complaints_about(statement, tmp_path)}


def test_an_index_that_keeps_nobody_waiting_is_welcome(tmp_path: Path):
    assert complaints_about('create_index("ix_mood", "generations", ["key"])', tmp_path) == []


def complaints_about(statement: str, tmp_path: Path) -> list[str]:
    """If it were the next migration."""
    versions = tmp_path / "versions"
    versions.mkdir()
    (tmp_path / "env.py").write_text((folder() / "env.py").read_text())
    for name, down, body in ((REVISION, None, "pass"), ("9999", REVISION, statement)):
        (versions / f"{name}.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            "from worker.ledger.migrations.building import create_index\n"
            f"revision, down_revision, oldest_code = {name!r}, {down!r}, {name!r}\n"
            f"def upgrade():\n    {body}\n"
        )
    return complaints(sql_after(REVISION, tmp_path))
