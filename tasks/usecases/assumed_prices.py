"""Warnings about options that change the price but have no factor in the price file.

Darkroom then reserves the highest known factor (`worker/pricing/surcharges.py`).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker.ledger.generations import NewGeneration
from worker.pricing import Prices, extras_of_options, highest_known, tier_of
from worker.providers import provider_class


def assumed_in(wanted: Sequence[NewGeneration], prices: Prices, file: Path | None) -> Iterator[str]:
    """Yield one sentence for each provider and combination of such options."""
    found: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for new in wanted:
        if new.is_test:
            continue
        quote = prices.quote(new.provider, new.request.operation, tier_of(new.request))
        if quote.assumed:
            found[new.provider, quote.assumed].append(quote.amount)
    for (provider, extras), amounts in found.items():
        number = "1 generation is" if len(amounts) == 1 else f"{len(amounts)} generations are"
        most = prices.text(max(amounts))
        yield f"{_no_factor(file, provider, extras)}; {number} reserved at {most} each: {_advice(provider, extras)}"


def assumed_at(provider: str, prices: Prices, file: Path | None) -> str | None:
    """Return a sentence about this provider's options without factor or price; None if all have one."""
    options = {name for one in provider_class(provider).capabilities.values() for name in one.options}
    missing = [extra for extra in extras_of_options(options) if not prices.has_factor(provider, extra)]
    if not missing:
        return None
    factors = ", ".join(f"{extra} {highest_known(extra, None)} times" for extra in missing)
    return f"{_no_factor(file, provider, missing)} ({factors}): {_advice(provider, missing)}"


def _no_factor(file: Path | None, provider: str, extras: Sequence[str]) -> str:
    return f"{file} has no factor for {', '.join(extras)} at {provider}, so the highest known one is reserved"


def _advice(provider: str, extras: Sequence[str]) -> str:
    name, _, level = extras[0].partition("=")
    return f"add lines such as `- {{provider: {provider}, {name}: {level or 'true'}, factor: 2}}`"
