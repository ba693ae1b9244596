"""The examples of `deploy/API.md` work as they stand, one after the other, on a machine with a sandbox provider."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xlsxwriter

from tests.computer import Computer
from tests.patience import patient
from webhook import sandbox

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "deploy" / "API.md"
ADDRESS = "http://127.0.0.1:8001"
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path)


def test_the_examples_in_python_run_as_one_program(computer: Computer) -> None:
    program = "\n".join(blocks("python")).replace(ADDRESS, computer.api)
    with sandbox.running(delay=0.3, size=64) as provider:
        computer.env |= {"ACEDATACLOUD_BASE_URL": provider.url, "PUBLIC_URL": computer.url}
        with computer.up():
            done = subprocess.run(
                [sys.executable, "-c", program],
                cwd=computer.home,
                capture_output=True,
                text=True,
                timeout=patient(120),
                check=False,
            )
    assert done.returncode == 0, done.stderr
    assert ".png " in done.stdout
    assert "0042" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_examples_with_curl_are_answered_and_none_is_an_error(computer: Computer) -> None:
    (computer.home / "products.csv").write_text("sku,prompt\n0042,a mug\n")
    with xlsxwriter.Workbook(computer.home / "products.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        for number, row in enumerate((("sku", "name"), ("0043", "a mug"))):
            sheet.write_row(number, 0, row)
    (computer.home / "sketch.png").write_bytes(_png())
    shell = [block for block in blocks("") if ADDRESS in block]
    assert shell
    with sandbox.running(delay=0.3, size=64) as provider:
        computer.env |= {"ACEDATACLOUD_BASE_URL": provider.url, "PUBLIC_URL": computer.url}
        computer.env |= {"KIE_BASE_URL": provider.url, "KIE_API_KEY": "test-key"}
        with computer.up():
            for block in shell:
                commands = block.replace(ADDRESS, computer.api).replace("curl ", "curl --fail-with-body ")
                done = subprocess.run(
                    ["/bin/sh", "-e", "-c", commands],
                    cwd=computer.home,
                    capture_output=True,
                    text=True,
                    timeout=patient(60),
                    check=False,
                )
                assert done.returncode == 0, block + done.stdout + done.stderr
                for line in done.stdout.splitlines():
                    json.loads(line)
    assert "0042" in (computer.home / "results.csv").read_text()


def blocks(language: str) -> list[str]:
    return [text for name, text in _FENCED.findall(PAGE.read_text("utf-8")) if name == language]


def _png() -> bytes:
    (picture,) = re.findall(r'b64decode\(\n    "(.+?)"', PAGE.read_text("utf-8"))
    return subprocess.run(["base64", "-d"], input=picture.encode(), capture_output=True, check=True).stdout
