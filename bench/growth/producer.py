"""One large `delay_many`: `python -m bench.growth.producer COUNT`. Prints what it cost as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time

from bench.growth.tasks import nothing

__all__ = ["main"]

_WARM = 100


def main(count: int) -> dict[str, float]:
    nothing.delay_many([(number,) for number in range(_WARM)])
    calls = ((number,) for number in range(count))
    before_kib, used_before, started = _peak_kib(), time.process_time(), time.perf_counter()
    handles = nothing.delay_many(calls)
    took_s, used_s = time.perf_counter() - started, time.process_time() - used_before
    grown = (_peak_kib() - before_kib) * 1024
    assert len({handle.id for handle in handles}) == count
    return {
        "calls/s": count / took_s,
        "producer µs": used_s / count * 1e6,
        "peak MB": grown / 1e6,
        "bytes for a call": grown / count,
    }


def _peak_kib() -> int:
    """The most that this process has held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
