"""Mean, quantiles and maximum of a stream of numbers, in bounded memory."""

import math
from collections import Counter, deque


class Distribution:
    """Mean, quantiles and maximum of a stream of numbers >= 0, in bounded memory.

    Values are counted in buckets that each are 0.2 % wide, so a quantile is right to 0.1 %; mean and maximum
    are exact. Two of them can be added. Source: DDSketch, Masson, Rim and Lee, VLDB 2019.
    """

    WIDTH = math.log(1.002)
    SMALLEST = 1e-9  # all below is nought

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.min = math.inf
        self.max = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        self.total += value
        self.min, self.max = min(self.min, value), max(self.max, value)
        self._buckets[math.floor(math.log(max(value, self.SMALLEST)) / self.WIDTH)] += 1

    def merge(self, other: "Distribution") -> None:
        """Count all that the other one has counted."""
        self.count += other.count
        self.total += other.total
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        self._buckets.update(other._buckets)

    def quantiles(self, *shares: float) -> list[float]:
        """Return the values below which the given shares (0 to 1, rising) lie, linear between ranks.

        Raises:
            ValueError: nothing was counted.
        """
        if not self.count:
            raise ValueError("a distribution of nothing has no quantiles")
        ranks = [share * (self.count - 1) for share in shares]
        wanted = deque(sorted({whole for rank in ranks for whole in (math.floor(rank), math.ceil(rank))}))
        values: dict[int, float] = {}
        passed = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            while wanted and wanted[0] < passed:
                middle = math.exp((bucket + 0.5) * self.WIDTH)
                values[wanted.popleft()] = min(max(middle, self.min), self.max)
        return [
            values[math.floor(rank)] + (rank % 1) * (values[math.ceil(rank)] - values[math.floor(rank)])
            for rank in ranks
        ]

    def summary(self) -> dict[str, float] | None:
        """Return mean, p50, p95, p99 and max, or None if nothing was counted."""
        if not self.count:
            return None
        p50, p95, p99 = self.quantiles(0.50, 0.95, 0.99)
        return {"mean": self.total / self.count, "p50": p50, "p95": p95, "p99": p99, "max": self.max}
