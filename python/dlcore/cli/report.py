"""What a person sees of a training run: a progress line, a log in JSON lines, a loss curve."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from dlcore.io.files import replacing, write_all

__all__ = ["Log", "Progress", "plot_losses"]


class Log:
    """`log.jsonl`: one object a step. Opened after `done` steps, it drops what an interrupted run wrote beyond them."""

    def __init__(self, path: Path, done: int) -> None:
        kept = [json.dumps(record) + "\n" for record in _records(path) if record["step"] <= done] if done else []
        with replacing(str(path)) as fd:
            write_all(fd, "".join(kept).encode())
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(self, **record: Any) -> None:
        write_all(self._fd, (json.dumps(record) + "\n").encode())

    def sync(self) -> None:
        """Makes what was written durable: a checkpoint must not outlive the log of its steps."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    out = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # the line that a kill cut short
            break
        if not isinstance(record, dict) or not {"step", "loss"} <= record.keys():
            raise ValueError(f"{path} is not the log of a run: {line[:60]!r} has no step and loss")
        out.append(record)
    return out


class Progress:
    """A tqdm bar where tqdm is installed and the output is a terminal; elsewhere a line every few seconds."""

    def __init__(self, first: int, total: int) -> None:
        self._total, self._first = total, first
        self._started = self._last_line = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, initial=first, unit="step", dynamic_ncols=True)

    def update(self, step: int, text: str) -> None:
        """Shows that `step` steps are done."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(1)
            return
        now = time.monotonic()
        if now - self._last_line < 5 and step != self._total:
            return
        self._last_line = now
        left = (now - self._started) / max(step - self._first, 1) * (self._total - step)
        self.say(f"step {step}/{self._total}  {text}, {_duration(left)} left")

    def say(self, text: str) -> None:
        """Prints a line without tearing the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def plot_losses(log: Path, png: Path) -> bool:
    """Draws the training and validation loss of a log; False where matplotlib (extra "plot") is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    records = _records(log)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = [r["step"] for r in records], [r["loss"] for r in records]
    axes.plot(steps, losses, color="0.75", linewidth=0.8, label="training, each step")
    axes.plot(steps, _smoothed(losses), color="tab:blue", label="training, running mean")
    measured = [(r["step"], r["val_loss"]) for r in records if "val_loss" in r]
    if measured:
        label = f"validation, at the end {measured[-1][1]:.3f}"
        axes.plot(*zip(*measured, strict=True), "o-", color="tab:orange", markersize=4, label=label)
    axes.set(xlabel="step", ylabel="cross-entropy (nats per token)", title="Loss while training")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(png, dpi=120)
    return True


def _smoothed(values: list[float]) -> list[float]:
    """An exponential running mean over a sixtieth of the curve, corrected for its start."""
    keep = 1 - 1 / max(20, len(values) / 60)
    mean, weight, out = 0.0, 0.0, []
    for v in values:
        mean = keep * mean + (1 - keep) * v
        weight = keep * weight + (1 - keep)
        out.append(mean / weight)
    return out
