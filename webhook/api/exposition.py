"""Readings as prometheus-client writes them: as text, or as OpenMetrics."""

import time
from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tasks.usecases.metrics import DURATION, PART_UP, PARTS, Family, Histogram, Kind, Readings, Sample

_KINDS: dict[Kind, Callable[..., Metric]] = {
    Kind.GAUGE: GaugeMetricFamily,
    Kind.COUNTER: CounterMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


def exposed(read: Callable[[], Readings], accept: str) -> tuple[bytes, str]:
    """Read once; return the text that `accept` prefers, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(LedgerCollector(read)), content_type


class LedgerCollector(Collector):
    """Reads the ledger's counts at each scrape. It counts nothing itself, so a restart loses nothing."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        began = time.monotonic()
        readings = self._read()
        took = time.monotonic() - began
        for part in PARTS:
            samples = readings.get(part.name)
            if samples is not None:
                yield from (_metric(family, samples) for family in part.families)
        ups = [Sample(PART_UP, (part.name,), part.name in readings) for part in PARTS]
        yield _metric(PART_UP, ups)
        yield _metric(DURATION, [Sample(DURATION, (), took)])


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    metric = _KINDS[family.kind](family.name, family.meaning, labels=family.labels)
    for sample in samples:
        if sample.family is family:
            add = metric.add_metric  # type: ignore[attr-defined]  # each kind of metric has its own
            value = sample.value
            if isinstance(value, Histogram):
                add(sample.labels, buckets=value.buckets, sum_value=value.sum)
            else:
                add(sample.labels, value)
    return metric
