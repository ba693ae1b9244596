"""P15: `darkroom batch check` of 50,000 rows: its time, and the most memory it had.

python -m tests.bench.batch_check [--count N] [--json]
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.receiver import show
from worker.ledger.database import Database
from worker.ledger.migrations import upgrade

COUNT = 50_000
GOAL_SECONDS = 15
GOAL_MB = 120
_ENTRY = "from tasks.cli import main; main()"
_PRICES = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\ncaps: {day: 100}\n"


def run_alone() -> dict[str, object]:
    """As `run`, from a small process: Linux counts the memory of the one that starts the command as the command's."""
    command = [sys.executable, "-m", "tests.bench.batch_check", "--json"]
    found: dict[str, object] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def run(count: int = COUNT) -> dict[str, object]:
    """Seconds and megabytes (RSS) of the command, with prices, for a table with six columns."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as name:
        folder = Path(name)
        ledger = Database(f"sqlite:///{folder / 'ledger.sqlite3'}")
        upgrade(ledger)
        ledger.close()
        (folder / "prices.yaml").write_text(_PRICES)
        with (folder / "products.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sku", "prompt", "aspect_ratio", "name", "colour", "label.client"])
            for number in range(count):
                prompt = f"a photo of a {{colour}} thing, number {number}, in the snow with much light --v 7"
                writer.writerow([f"{number:06d}", prompt, "16:9", f"thing {number}", "red", "acme"])
        env = {
            **os.environ,
            "DARKROOM_DATA": name,
            "DARKROOM_PRICES": str(folder / "prices.yaml"),
            "ACEDATACLOUD_API_TOKEN": "any",
        }
        env.pop("DATABASE_URL", None)
        started = time.perf_counter()
        command = [sys.executable, "-c", _ENTRY, "batch", "check", str(folder / "products.csv")]
        process = subprocess.Popen(command, env=env, cwd=name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout
        said = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode or f"{count:,} rows valid" not in said:
            raise SystemExit(f"darkroom batch check has failed: {said}")
        return {
            "count": count,
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            # Linux counts in kilobytes, macOS in bytes.
            "memory_mb": round(usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="P15: checking a file with very many rows.")
    parser.add_argument("--count", type=int, default=COUNT, help="rows")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    arguments = parser.parse_args()
    show(run(arguments.count), as_json=arguments.json)


if __name__ == "__main__":
    main()
