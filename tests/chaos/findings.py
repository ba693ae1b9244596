"""How a run has ended: what is counted, and what must hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Findings:
    """`complaints` say of everything that is wrong what it is.

    `charges` were made and not refunded; `unconfirmed_charged`: unconfirmed, although the provider could tell;
    `reasons`: how many are unconfirmed for which reason.
    """

    generations: int
    charges: int
    paid_twice: int
    lost_generations: int
    lost_assets: int
    unconfirmed: int
    unconfirmed_charged: int
    final: int
    complaints: tuple[str, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def nothing_is_wrong(self) -> bool:
        return not self.complaints
