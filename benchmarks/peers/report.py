"""Tables out of the results: everything for benchmarks/results, and what the README shows between its two markers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.limits import shortest_time, summary
from benchmarks.peers.adapters import PEERS
from benchmarks.peers.cases import CASES, Case

OURS = "dlcore"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
TITLES = {
    "matmul": "Matrix products",
    "conv_fwd": "Convolution, forward",
    "conv_bwd": "Convolution, gradients of data and weights",
    "ops": "Operations bound by memory",
    "attn": "Attention (4 sequences, 12 heads, 64 features)",
    "optim": "Optimizers over 124 million parameters",
    "rnn": "Recurrent layers (128 steps, 32 sequences, 256 features)",
    "train": "Training steps",
    "infer": "Inference",
    "dispatch": "Eight elements: the cost of a call",
}
README_CASES = (
    "matmul/sq1024",
    "matmul/gpt_512x768x3072",
    "matmul/gemv_1x768x3072",
    "conv_fwd/rn50_128-128_3x3_28",
    "conv_bwd/rn50_128-128_3x3_28",
    "ops/softmax_fwdbwd_4096x512",
    "ops/xent_fwdbwd_512x50257",
    "ops/layernorm_fwdbwd_4096x768",
    "attn/causal_fwd_T1024",
    "attn/causal_fwdbwd_T1024",
    "optim/adamw_124M",
    "train/mlp_784-512-512-10_B128",
    "train/cnn_28x28_B64",
    "train/gpt_small_B8_T256",
    "infer/gpt2_prefill512_fp32",
    "infer/gpt2_decode32_ctx256_fp32",
    "dispatch/add_8",
)


@dataclass(frozen=True)
class Row:
    """A case with a number of threads: seconds by peer, and the shortest time that the machine allows."""

    case: Case
    threads: int
    seconds: dict[str, float]
    least: float | None  # None where the work is not counted
    limit: str
    found: dict[str, Any]

    @property
    def best(self) -> str | None:
        """The fastest of the others."""
        others = [peer for peer in self.seconds if peer != OURS]
        return min(others, key=self.seconds.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the best of the others dlcore is."""
        if self.best is None or OURS not in self.seconds:
            return None
        return self.seconds[self.best] / self.seconds[OURS]

    def share(self, peer: str) -> float | None:
        """Of the limit."""
        return None if self.least is None else self.least / self.seconds[peer]


def rows(document: dict[str, Any]) -> Iterator[Row]:
    """In the order of the cases; more threads first."""
    for case in CASES:
        for threads, found in sorted(document["cases"].get(case.name, {}).items(), key=lambda item: -int(item[0])):
            seconds = {peer: result["median"] for peer, result in found["peers"].items() if "median" in result}
            least, limit = None, ""
            if case.flops or case.bytes:
                limits = document["limits"][threads]
                least, limit = shortest_time(case.flops, case.bytes, limits, case.touched, case.dtype)
            if seconds:
                yield Row(case, int(threads), seconds, least, limit, found)


def time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    value, unit = next((seconds * k, unit) for k, unit, most in UNITS if seconds < most)
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


UNITS = ((1e6, "µs", 1e-3), (1e3, "ms", 1.0), (1.0, "s", math.inf))


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def table(header: list[str], lines: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)]


def verdict(found: list[Row]) -> str:
    """How dlcore does over all cases, in a sentence."""
    ratios = [row.ratio for row in found if row.ratio is not None]
    if not ratios:
        return "No case has both dlcore and a peer."
    mean = math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))
    won = sum(ratio > 1 for ratio in ratios)
    return (
        f"dlcore is faster than the best peer in {won} of {len(ratios)} cases; "
        f"the geometric mean of its speed relative to the best peer's is {mean:.2f}."
    )


def where(document: dict[str, Any]) -> str:
    m = document["machine"]
    return f"{m['cpu']}, {m['cores']} cores, {m['system']}, Python {m['python']}, {m['date']}"


def group_table(found: list[Row]) -> list[str]:
    """Of one group of cases, a column for each peer. The fastest of a line is bold."""
    peers = [peer for peer in PEERS if peer != OURS and any(peer in row.seconds for row in found)]
    header = ["case", "threads", "limit", "dlcore", "of limit", "best peer", "ratio", *peers]
    lines = []
    for row in found:
        fastest = min(row.seconds, key=row.seconds.__getitem__)
        cells = {peer: time(seconds) for peer, seconds in row.seconds.items()}
        cells[fastest] = f"**{cells[fastest]}**"
        limit = f"{time(row.least)} ({row.limit})" if row.least is not None else ""
        share = percent(row.share(OURS)) if OURS in row.seconds else ""
        name = row.case.name.partition("/")[2]
        ours = [cells.get(OURS, ""), share, row.best or "", times(row.ratio)]
        lines.append([name, str(row.threads), limit, *ours, *(cells.get(peer, "") for peer in peers)])
    return table(header, lines)


def memory_table(found: list[Row]) -> list[str]:
    """The peak of cases that had a process to themselves."""
    alone = [row for row in found if row.case.fresh]
    peers = [peer for peer in PEERS if any("peak_memory" in row.found["peers"].get(peer, {}) for row in alone)]
    lines = []
    for row in alone:
        peaks = [row.found["peers"].get(peer, {}).get("peak_memory") for peer in peers]
        lines.append([row.case.name, str(row.threads), *("" if p is None else f"{p / 2**20:.0f}" for p in peaks)])
    return table(["case", "threads", *peers], lines) if peers else []


def full(document: dict[str, Any]) -> str:
    """The whole report."""
    found = list(rows(document))
    out = ["# dlcore beside its peers", "", f"{where(document)}. {verdict(found)}", ""]
    out += [
        "Times are medians of samples taken in turns. The limit is the larger of operations / peak and bytes / "
        "bandwidth, with the peaks below, measured in the same run; a matrix unit is not counted. The ratio is the "
        "best peer's time by dlcore's: over 1, dlcore is faster. **Bold** is the fastest.",
        "",
    ]
    out += [f"- {peer}: {PEERS[peer].about}; {facts(info)}" for peer, info in sorted(document["peers"].items())]
    out += [f"- limits, threads {threads}: {summary(limits)}" for threads, limits in document["limits"].items()]
    for group, title in TITLES.items():
        of_group = [row for row in found if row.case.group == group]
        if of_group:
            out += ["", f"## {title}", "", *group_table(of_group)]
    peaks = memory_table(found)
    if peaks:
        out += ["", "## Peak memory of a training process, MiB", "", *peaks]
    out += ["", "## Results compared", "", agreement(found)]
    skipped = [
        f"- {row.case.name}, {row.threads} threads, {peer}: {result['skip']}"
        for row in found
        for peer, result in row.found["peers"].items()
        if "skip" in result
    ]
    if skipped:
        out += ["", "## Left out", "", *skipped]
    return "\n".join(out) + "\n"


def facts(by_threads: dict[str, dict[str, Any]]) -> str:
    """What a peer says of itself with most threads."""
    info = by_threads[max(by_threads, key=int)]
    return ", ".join(f"{name} {value}" for name, value in info.items())


def agreement(found: list[Row]) -> str:
    wrong = [f"{row.case.name} ({', '.join(row.found['disagree'])})" for row in found if row.found["disagree"]]
    return "The mean magnitude of each result, within 2 %: " + ("; ".join(wrong) if wrong else "all agree.")


def for_readme(document: dict[str, Any]) -> str:
    """A table of some cases with as many threads as were measured, and the verdict over all."""
    found = list(rows(document))
    threads = max((row.threads for row in found), default=0)
    found = [row for row in found if row.threads == threads]
    lines = []
    for row in found:
        if row.case.name in README_CASES and row.ratio is not None and row.best is not None:
            best = f"{time(row.seconds[row.best])} ({row.best})"
            ours = [time(row.seconds[OURS]), percent(row.share(OURS))]
            lines.append([f"`{row.case.name}`", *ours, best, times(row.ratio)])
    header = ["case", "dlcore", "of the machine's limit", "best peer", "times its speed"]
    note = f"{where(document)}; {threads} threads. {verdict(found)}"
    return "\n".join([*table(header, lines), "", note])


def replace_marked(text: str, new: str) -> str:
    """The text with `new` between the two markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"expected one {BEGIN} and after it one {END}")
    return f"{before}{begin}\n{new}\n{end}{after}"
