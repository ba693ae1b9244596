"""`darkroom mcp` as a command: what it needs, and that nothing else pays for it."""

import subprocess
import sys

import pytest

from tests.tasks.cli.conftest import Darkroom, darkroom  # noqa: F401  a fixture


def test_without_the_extra_one_sentence_says_how_to_get_it(
    darkroom: Darkroom,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ["mcp", *(name for name in sys.modules if name.startswith("mcp."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "tasks.mcp.server", raising=False)
    result = darkroom("mcp")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'darkroom: `darkroom mcp` needs an extra: pip install "darkroom[mcp]"\n'


@pytest.mark.processes
def test_no_other_process_loads_its_library() -> None:
    program = (
        "import sys, tasks.mcp, tasks.mcp.tools, tasks.cli, worker.celery, webhook.app, webhook.api.app\n"
        "worker.celery.app.loader.import_default_modules()\n"
        "print([name for name in ('mcp', 'mcp_types', 'anyio') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
