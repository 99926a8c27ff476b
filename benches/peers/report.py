"""The results as text: a table for each workload, and whether the goals are met."""

import proxies
import workloads
from results import DIRECT

OURS, THEIRS = "pilotlight", "nginx"

# Title, figure, what it is divided by, digits.
COLUMNS = [
    ("requests/s", "rate", 1, 0),
    ("p50 µs", "p50", 1, 0),
    ("p99 µs", "p99", 1, 0),
    ("p99.9 µs", "p999", 1, 0),
    ("CPU µs/req", "cpu", 1, 1),
    ("MiB", "resident", 1024, 1),
]
RATES = [it.name for it in workloads.ALL if not it.paced]
COSTS = [it.name for it in workloads.ALL]


def text(results):
    lines = ["Medians of the rounds; spread: from the least to the most, of requests/s and of CPU.", ""]
    for workload in workloads.ALL:
        if workload.name in results.samples:
            lines += table(results, workload) + [""]
    if workloads.IDLE in results.samples:
        lines += idle(results) + [""]
    lines += means(results) + [""] + goals(results) + [""] + [versions(results)]
    return "\n".join(lines) + "\n"


def table(results, workload):
    lines = [f"{workload.name}: {workload.title}"]
    titles = "".join(f"{title:>12}" for title, *_ in COLUMNS)
    lines.append(f"  {'':11}{titles}{'spread':>14}{'of nginx: rate, CPU':>22}")
    for proxy in [DIRECT] + [it.name for it in proxies.ALL]:
        if proxy not in results.samples[workload.name]:
            continue
        cells = ""
        for _, figure, unit, digits in COLUMNS:
            value = results.median(workload.name, proxy, figure)
            cells += f"{'–' if value is None else f'{value / unit:.{digits}f}':>12}"
        spreads = [percent(results.spread(workload.name, proxy, figure)) for figure in ("rate", "cpu")]
        ratios = [times(results.ratio(workload.name, proxy, THEIRS, figure)) for figure in ("rate", "cpu")]
        errors = results.errors(workload.name, proxy)
        lines.append(
            f"  {proxy:11}{cells}{' '.join(spreads):>14}{' '.join(ratios):>22}"
            + (f"  {errors} errors" if errors else "")
        )
    for proxy in proxies.ALL:
        if why := proxy.cannot.get(workload.name):
            lines.append(f"  {proxy.name:11}{'–':>12}  {why}")
    return lines


def idle(results):
    lines = ["idle: resident KiB that each of 10,000 idle connections adds"]
    for proxy in proxies.ALL:
        value = results.median(workloads.IDLE, proxy.name, "kib")
        if value is not None:
            lines.append(f"  {proxy.name:11}{value:12.2f}{percent(results.spread(workloads.IDLE, proxy.name, 'kib')):>8}")
    return lines


def means(results):
    lines = [f"geometric means, of {THEIRS}'s: requests/s, CPU a request"]
    for proxy in proxies.ALL:
        rate = results.mean_ratio(RATES, proxy.name, THEIRS, "rate")
        cost = results.mean_ratio(COSTS, proxy.name, THEIRS, "cpu")
        lines.append(f"  {proxy.name:11}{times(rate):>8}{times(cost):>8}")
    return lines


def goals(results):
    """Each goal, what was measured, and whether that is enough; `?` where there is nothing to say."""
    rate = results.mean_ratio(RATES, OURS, THEIRS, "rate")
    cost = results.mean_ratio(COSTS, OURS, THEIRS, "cpu")
    ratios = {name: results.ratio(name, OURS, THEIRS, "rate") for name in RATES}
    ratios = {name: ratio for name, ratio in ratios.items() if ratio}
    least = min(ratios, key=ratios.get, default=None)
    p99, direct = (results.median("open-loop", proxy, "p99") for proxy in (OURS, DIRECT))
    added = p99 - direct if p99 and direct else None
    kib = results.median(workloads.IDLE, OURS, "kib")
    lines = [
        goal(f"requests/s, geometric mean: at least 1.05 × {THEIRS}", rate, lambda it: it >= 1.05, "{:.3f}"),
        goal(f"CPU a request, geometric mean: at most 0.95 × {THEIRS}", cost, lambda it: it <= 0.95, "{:.3f}"),
        goal(
            f"no workload below 0.9 × {THEIRS}",
            ratios.get(least),
            lambda it: it >= 0.9,
            f"{{:.3f}} ({least})",
        ),
        goal(f"p99 added at {workloads.RATE} requests/s: at most 300 µs", added, lambda it: it <= 300, "{:.0f} µs"),
        goal("an idle connection: at most 10 KiB", kib, lambda it: it <= 10, "{:.2f} KiB"),
    ]
    below = sorted((ratio, name) for name, ratio in ratios.items() if ratio < 0.9)
    if below:
        lines.append("  below 0.9: " + ", ".join(f"{name} {ratio:.2f}" for ratio, name in below))
    return lines


def goal(words, value, met, form):
    if value is None:
        return f"?    {words}"
    return f"{'yes' if met(value) else 'NO':5}{words}: {form.format(value)}"


def versions(results):
    machine = results.machine
    names = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return f"{machine['cores']} cores, Linux {machine['kernel']}, {machine['seconds']} s each; {names}"


def percent(share):
    return "–" if share is None else f"{share * 100:.0f}%"


def times(ratio):
    return "–" if ratio is None else f"{ratio:.2f}"
