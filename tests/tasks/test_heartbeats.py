"""Whose heartbeat is that of a worker which is no more. How workers write them: tests/system/test_heartbeats.py."""

import os
import subprocess

from worker.ledger.maintenance.heartbeats import is_gone


def test_only_a_predecessor_on_the_same_host_can_be_known_to_be_gone() -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    here = f"worker.{os.getpid()}@here"
    assert is_gone(f"worker.{ended.pid}@here", here)
    for other in (
        here, f"worker.{ended.pid}@there", f"clock.{ended.pid}@here", f"worker.{os.getppid()}@here", "worker.1@here",
        "worker@here", "worker.0@here",
    ):  # fmt: skip
        assert not is_gone(other, here), other
