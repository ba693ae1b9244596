"""`make demo-picture`: the pictures of the README, of a demo that is run for them.

`deploy/demo.svg` is what the terminal shows at its end, `deploy/demo.jpg` the first image of each
generation that is in the bucket by then.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from PIL import Image, ImageOps
from rich.console import Console
from rich.text import Text

from tests.figures.tables import ROOT

SVG, STRIP = ROOT / "deploy" / "demo.svg", ROOT / "deploy" / "demo.jpg"
_COLUMNS = 80
#: of each image, in pixels
_TILE, _GAP = 110, 4
ENTRY = "from tasks.cli import main; main()"
#: rich names fonts of a CDN, which a picture on a web page may not fetch; any monospaced font will do
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
#: rewriting the lines of a live display, and hiding the cursor meanwhile
_CURSOR = re.compile(r"\x1b\[(?:\?25[hl]|\d*[A-GJK])")


def run_demo(folder: Path) -> str:
    """What `darkroom demo --exit` prints on standard output, with its colours."""
    env = {**os.environ, "DARKROOM_DATA": str(folder), "FORCE_COLOR": "1", "COLUMNS": str(_COLUMNS)}
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, "demo", "--exit"], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return _CURSOR.sub("", done.stdout)


def terminal(output: str) -> str:
    """A terminal in SVG that shows the command and `output`."""
    console = Console(record=True, width=_COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ make demo", style="bold"))
    console.print(Text.from_ansi(output.rstrip()))
    return _FONT.sub("", console.export_svg(title="Darkroom", unique_id="demo"))


def film_strip(images: Sequence[Path]) -> Image.Image:
    step = _TILE + _GAP
    strip = Image.new("RGB", (len(images) * step - _GAP, _TILE), "white")
    for number, file in enumerate(images):
        with Image.open(file) as image:
            strip.paste(ImageOps.fit(image.convert("RGB"), (_TILE, _TILE)), (number * step, 0))
    return strip


def first_images(bucket: Path) -> list[Path]:
    """One of each generation that the demo names; follow-ups have no names."""
    found = (file for file in bucket.glob("*/*/*/demo/*/0.*") if file.suffix in {".png", ".jpg"})
    return sorted(file for file in found if not file.parent.name.startswith("gen_"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="darkroom-demo-") as name:
        output = run_demo(Path(name))
        (bucket,) = Path(name).glob("demo-*/s3/darkroom")
        film_strip(first_images(bucket)).save(STRIP, quality=80, optimize=True)
    SVG.write_text(terminal(output), encoding="utf-8")


if __name__ == "__main__":
    main()
