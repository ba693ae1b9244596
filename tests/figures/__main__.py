"""`make readme-figures`: put the last results into README.md and deploy/PERFORMANCE.md."""

from tests.figures.results import load
from tests.figures.tables import filled, tables

for document, contents in tables(load()).items():
    document.write_text(filled(document.read_text(encoding="utf-8"), contents), encoding="utf-8")
