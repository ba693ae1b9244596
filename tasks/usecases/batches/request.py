"""The request to submit a file as a batch."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.usecases.entry_check import Defaults

if TYPE_CHECKING:
    from tasks.usecases.batch_file import BatchFile

#: how many submissions a template may make from one row, unless the request says otherwise
EXPAND_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """One file, and the options of the command.

    `name`: of the batch; None for the file's stem. `template`: a prompt for all rows, filled in from their columns.
    `providers`: in order of preference; the first replaces the provider of `defaults`. `start_at`: nothing is
    dispatched before. `max_cost`: in millionths of the currency of the price file. `new_version`: changed rows become
    new versions. `skip_invalid`: submit the other rows. `is_test`: the sandbox makes them, at no cost; the name of
    their batch says so. `notify`: the address for the events of a new batch.
    """

    file: "BatchFile"
    name: str | None = None
    template: str | None = None
    defaults: Defaults = field(default_factory=Defaults)
    providers: tuple[str, ...] = ()
    start_at: datetime | None = None
    max_cost: int | None = None
    max_in_flight: int | None = None
    new_version: bool = False
    skip_invalid: bool = False
    expand_limit: int = EXPAND_LIMIT
    is_test: bool = False
    notify: str | None = field(default=None, repr=False)
