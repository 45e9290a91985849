"""``dlcore train``: a GPT learns to write the text that it reads."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from pathlib import Path
from typing import Any

from dlcore import _C
from dlcore.cli.common import named, set_threads
from dlcore.cli.report import Log, Progress, plot_losses
from dlcore.cli.trainer import DEFAULTS, Trainer

__all__ = ["add_arguments", "run"]

SECONDS_BETWEEN_CHECKPOINTS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def decisive(name: str, text: str, **how: Any) -> None:
        """An option that is None where it was not given: a resumed run takes the checkpoint's value."""
        parser.add_argument(f"--{name}", help=f"{text} (default: {DEFAULTS[name]})", **how)

    add = parser.add_argument
    add("--data", metavar="PATH", help="a text file or a directory of them (default: Python's standard library)")
    decisive("level", "what a token is", choices=("byte", "char"))
    decisive("layers", "transformer blocks", type=int, metavar="N")
    decisive("heads", "attention heads", type=int, metavar="N")
    decisive("width", "embedding width", type=int, metavar="N")
    decisive("context", "tokens that the model sees at once", type=int, metavar="N")
    decisive("batch", "sequences in a step", type=int, metavar="N")
    decisive("steps", "optimiser steps", type=int, metavar="N")
    decisive("lr", "peak learning rate; cosine decay to a tenth after a warm-up", type=float, metavar="F")
    decisive("dropout", "dropout probability", type=float, metavar="F")
    decisive("seed", "of initial weights, batches and dropout", type=int, metavar="N")
    add(
        "--threads",
        type=int,
        metavar="N",
        help="threads; the result does not depend on it (default: the available cores)",
    )
    add(
        "--out",
        default="runs/gpt",
        metavar="DIR",
        help="where log, curve, samples and checkpoint go (default: runs/gpt)",
    )
    add("--resume", action="store_true", help="go on from DIR/checkpoint, bit for bit as if never interrupted")


class _Interrupt:
    """Turns Ctrl-C into a flag, so that a step is finished and saved; a second Ctrl-C interrupts at once."""

    def __enter__(self) -> _Interrupt:
        self.requested = False

        def handle(signum: int, frame: Any) -> None:
            self.requested = True
            signal.signal(signum, signal.default_int_handler)

        self._before = signal.signal(signal.SIGINT, handle)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGINT, self._before)


def run(options: argparse.Namespace) -> int:
    """Trains as the options say; 0 when done, 130 after Ctrl-C (with everything saved)."""
    set_threads(options.threads)
    out = Path(options.out)
    with named(f"--out {out}"):
        if not options.resume and (out / "checkpoint").exists():
            raise ValueError(f"--out {out} already holds a run; go on with --resume, or choose another directory")
    trainer = Trainer(options)
    with named(f"--out {out}"):
        out.mkdir(parents=True, exist_ok=True)
        log = Log(out / "log.jsonl", trainer.step)
        if not options.resume:
            trainer.save()  # what cannot be written is better known now, and a run can be resumed from its start on
    try:
        with _Interrupt() as interrupt:
            val_loss = _train(trainer, log, interrupt)
    finally:
        log.close()
    if interrupt.requested:
        print(
            f"interrupted at step {trainer.step} of {options.steps}; everything is saved. Go on with:\n"
            f"  dlcore train --resume --out {out}"
        )
        return 130

    text = trainer.sample(600)
    print(f"\nA sample:\n{_indented(text)}\n")
    if val_loss is not None:
        print(f"final validation loss {val_loss:.4f}")
    with named(f"--out {out}"):
        (out / "sample.txt").write_text(text, encoding="utf-8")
        drawn = plot_losses(out / "log.jsonl", out / "loss.png")
    print(
        f"log: {out / 'log.jsonl'}"
        + (f", curve: {out / 'loss.png'}" if drawn else ' (install the extra "plot" for a curve)')
    )
    prompt = ' --prompt "def "' if options.data is None else ""
    print(f"checkpoint: {trainer.checkpoint}\nlet it write:\n  dlcore generate {out}{prompt}")
    return 0


def _train(trainer: Trainer, log: Log, interrupt: _Interrupt) -> float | None:
    """Steps until the last one, or Ctrl-C; returns the last validation loss that was measured."""
    o, steps = trainer.options, trainer.options.steps
    peak = _C.fma_peak(0.2)
    print(
        f"data: {trainer.corpus_label}, "
        f"{len(trainer.train_tokens) + len(trainer.val_tokens):,} tokens ({o.level} level)"
    )
    print(
        f"model: {sum(p.numel() for p in trainer.model.parameters()):,} parameters; {_C.num_threads()} threads, "
        f"{_C.target()}, peak {peak / 1e9:.0f} GFLOP/s"
    )
    plan = trainer.plan()
    print(f"memory: {plan.peak / 2**20:,.0f} MiB at the peak of a step, {plan.live / 2**20:,.0f} of them in tensors")
    if o.resume:
        print(f"resuming at step {trainer.step} of {steps}")

    every = max(steps // 10, 1)
    saved, saved_at = trainer.step, time.monotonic()
    speed = 0.0
    val_loss = None
    advice = "; the last checkpoint is whole: go on with --resume"
    with contextlib.closing(Progress(trainer.step, steps)) as progress:
        while trainer.step < steps and not interrupt.requested:
            started = time.perf_counter()
            loss = trainer.train_step()
            rate = o.batch * o.context / (time.perf_counter() - started)
            speed = rate if speed == 0 else 0.9 * speed + 0.1 * rate
            record: dict[str, Any] = {"step": trainer.step, "loss": loss}
            measure = trainer.step % every == 0 or trainer.step == steps
            if measure:
                val_loss = record["val_loss"] = trainer.validation_loss()
            with named(f"--out {o.out}", advice):
                log.write(**record, tokens_per_second=round(rate))
                if measure or time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS:
                    log.sync()
                    trainer.save()
                    saved, saved_at = trainer.step, time.monotonic()
            share = speed * trainer.flops_per_token() / peak
            progress.update(trainer.step, f"loss {loss:.3f}, {speed:,.0f} tokens/s, {share:.0%} of peak")
            if measure:
                progress.say(f"step {trainer.step}: validation loss {val_loss:.4f}")
                if trainer.step % (2 * every) == 0 and trainer.step < steps:
                    progress.say(_indented(trainer.sample(240)))
    if saved < trainer.step:
        with named(f"--out {o.out}", advice):
            trainer.save()
    return val_loss


def _indented(text: str) -> str:
    """A sample for the terminal, which an untrained model's control characters must not reach."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "\n".join("    " + line.rstrip() for line in shown.split("\n"))
