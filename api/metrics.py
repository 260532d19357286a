"""What `/metrics` tells: requests by route and status, their durations, and the hit rates of the caches."""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.cache import all_caches

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_requests = Counter("agora_http_requests", "Requests answered", ["method", "route", "status"])
_seconds = Histogram(
    "agora_http_request_seconds",
    "Time from the first byte of a request to the last of its answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
# Looking a labelled child up costs more than counting on it.
_counters: dict[tuple[str, str, int], Counter] = {}
_timers: dict[tuple[str, str], Histogram] = {}


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request. `route` is a template, never a path: labels must stay few."""
    counter = _counters.get((method, route, status))
    if counter is None:
        counter = _counters[method, route, status] = _requests.labels(method, route, str(status))
    counter.inc()
    timer = _timers.get((method, route))
    if timer is None:
        timer = _timers[method, route] = _seconds.labels(method, route)
    timer.observe(seconds)


class _CacheCollector(Collector):
    """Reads the caches when asked, so that a hit costs no metric."""

    def collect(self) -> Iterable[Metric]:
        hits = CounterMetricFamily("agora_cache_hits", "Look-ups answered from an in-process cache", labels=["cache"])
        misses = CounterMetricFamily("agora_cache_misses", "Look-ups that had to load", labels=["cache"])
        entries = GaugeMetricFamily("agora_cache_entries", "Entries held", labels=["cache"])
        for cache in all_caches():
            hits.add_metric([cache.name], cache.hits)
            misses.add_metric([cache.name], cache.misses)
            entries.add_metric([cache.name], len(cache))
        return [hits, misses, entries]


REGISTRY.register(_CacheCollector())


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
