"""What a scrape of `/metrics` reads, within a time: a database or a broker that hangs must not hold it up."""

from collections.abc import Sequence
from functools import partial

from tasks.usecases.metrics import OF_BROKER, OF_LEDGER, Part, Readings, read_parts
from webhook.health import Dependency
from worker.services import Services

#: seconds that a scrape waits for either; Prometheus gives up after ten
PATIENCE = 4.0


class Scrapes:
    """The scrapes of one process: of several at once, or within two seconds, one reads for all."""

    def __init__(self, here: Services) -> None:
        self._here = here
        self._asked = [self._source(OF_LEDGER, is_ledger=True), self._source(OF_BROKER)]

    def read(self) -> Readings:
        for one in self._asked:
            one.ask()
        return {name: samples for one in self._asked for name, samples in one.finding().items()}

    def _source(self, parts: Sequence[Part], *, is_ledger: bool = False) -> Dependency[Readings]:
        nothing: Readings = {}
        reconnect = self._here.ledger.close if is_ledger else None
        return Dependency(partial(read_parts, self._here, parts), nothing, reconnect, who="/metrics", patience=PATIENCE)
