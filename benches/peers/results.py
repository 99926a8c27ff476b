"""What has been measured, in `results.json`: samples by workload and proxy, one a round."""

import json
from statistics import geometric_mean, median

# The origin without a proxy.
DIRECT = "direct"


class Results:
    def __init__(self, path):
        self.path = path
        self.machine = {}
        self.versions = {}
        self.samples = {}

    @classmethod
    def at(cls, folder):
        """Those of a folder, where there are any."""
        results = cls(folder / "results.json")
        if results.path.exists():
            kept = json.loads(results.path.read_text())
            results.machine, results.versions = kept["machine"], kept["versions"]
            results.samples = kept["samples"]
        return results

    def forget(self, workloads, proxies):
        for workload in workloads:
            for proxy in proxies:
                self.samples.get(workload, {}).pop(proxy, None)

    def add(self, workload, proxy, sample):
        self.samples.setdefault(workload, {}).setdefault(proxy, []).append(sample)

    def save(self):
        kept = {"machine": self.machine, "versions": self.versions, "samples": self.samples}
        self.path.write_text(json.dumps(kept, indent=1) + "\n")

    def values(self, workload, proxy, figure):
        """One a round, in no order."""
        samples = self.samples.get(workload, {}).get(proxy, [])
        if figure == "rate":
            return [sample["requests"] / sample["seconds"] for sample in samples]
        return [sample[figure] for sample in samples if figure in sample]

    def median(self, workload, proxy, figure):
        values = self.values(workload, proxy, figure)
        return median(values) if values else None

    def spread(self, workload, proxy, figure):
        """From the least to the most, as a share of the median."""
        values = self.values(workload, proxy, figure)
        return (max(values) - min(values)) / median(values) if values and median(values) else None

    def errors(self, workload, proxy):
        return sum(self.values(workload, proxy, "errors"))

    def ratio(self, workload, proxy, other, figure):
        one, two = self.median(workload, proxy, figure), self.median(workload, other, figure)
        return one / two if one and two else None

    def mean_ratio(self, workloads, proxy, other, figure):
        """The geometric mean of `proxy` to `other` over the workloads that both have done."""
        ratios = [self.ratio(workload, proxy, other, figure) for workload in workloads]
        ratios = [ratio for ratio in ratios if ratio]
        return geometric_mean(ratios) if ratios else None
