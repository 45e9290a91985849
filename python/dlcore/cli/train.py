"""``dlcore train``: a GPT learns to write the text that it reads."""

from __future__ import annotations

import argparse
import dataclasses
import math
import signal
import time
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "run"]

WARMUP_STEPS = 100
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.99)
CLIP_NORM = 1.0
VALIDATION_WINDOWS = 480
# What a resumed run must share with the checkpoint; the rest (out, threads, data's path) may change.
FIXED = ("level", "layers", "heads", "width", "context", "batch", "steps", "lr", "dropout", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", metavar="PATH", help="a text file or a directory of them (default: Python's standard library)")
    add("--level", choices=("byte", "char"), default="byte", help="what a token is")
    add("--layers", type=int, default=4, metavar="N", help="transformer blocks")
    add("--heads", type=int, default=4, metavar="N", help="attention heads")
    add("--width", type=int, default=128, metavar="N", help="embedding width")
    add("--context", type=int, default=128, metavar="N", help="tokens that the model sees at once")
    add("--batch", type=int, default=12, metavar="N", help="sequences in a step")
    add("--steps", type=int, default=1000, metavar="N", help="optimiser steps")
    add(
        "--lr",
        type=float,
        default=1e-3,
        metavar="F",
        help="peak learning rate; cosine decay to a tenth after a warm-up",
    )
    add("--dropout", type=float, default=0.0, metavar="F", help="dropout probability")
    add("--seed", type=int, default=1337, metavar="N", help="of initial weights, batches and dropout")
    add(
        "--threads",
        type=int,
        metavar="N",
        help="threads (default: the available cores; the result does not depend on it)",
    )
    add("--out", default="runs/gpt", metavar="DIR", help="where log, curve, samples and checkpoint go")
    add("--resume", action="store_true", help="go on from DIR/checkpoint, bit for bit as if never interrupted")


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then a cosine from `peak` to a tenth of it; `step` counts from 0."""
    warmup = min(WARMUP_STEPS, max(steps // 10, 1))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def _check(options: argparse.Namespace) -> None:
    for name in ("layers", "heads", "width", "context", "batch", "steps"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.width % options.heads:
        raise ValueError(f"--width must be a multiple of --heads, got width {options.width} and {options.heads} heads")
    if not (options.lr > 0 and math.isfinite(options.lr)):
        raise ValueError(f"--lr must be a positive number, got {options.lr}")
    if not 0 <= options.dropout < 1:
        raise ValueError(f"--dropout must be at least 0 and below 1, got {options.dropout}")
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, got {options.seed}")


class Trainer:
    """The state of a run, all of which a checkpoint holds: model, optimiser, random state, step."""

    def __init__(self, options: argparse.Namespace) -> None:
        import dlcore
        from dlcore import io
        from dlcore.cli.corpus import Alphabet, read_corpus

        self.options = options
        self.out = Path(options.out)
        self.checkpoint = self.out / "checkpoint"
        self.step = 0
        kept = io.load_checkpoint(self.checkpoint) if options.resume else None
        if kept is not None:
            self._adopt(kept.extra)
        _check(options)
        if options.threads is not None:
            dlcore.set_num_threads(options.threads)

        text, self.corpus_label = read_corpus(options.data)
        characters = kept.extra["characters"] if kept else _characters(text) if options.level == "char" else ""
        self.alphabet = Alphabet(options.level, characters)
        tokens = self.alphabet.encode(text)
        split = int(0.9 * len(tokens))
        needed = options.context + 1
        if min(split, len(tokens) - split) < needed:
            raise ValueError(
                f"the text has {len(tokens)} tokens; a context of {options.context} needs at least {10 * needed}"
            )
        self.train_tokens, self.val_tokens = tokens[:split], tokens[split:]
        self._build()
        if kept is not None:
            kept.restore(model=self.model, optimizer=self.optimizer)
            dlcore.set_rng_state(kept.generator)
            self.step = kept.extra["step"]

    def _adopt(self, extra: dict[str, Any]) -> None:
        """Takes the checkpoint's settings; an option that was given and differs is refused by name."""
        defaults = argparse.ArgumentParser()
        add_arguments(defaults)
        for name in FIXED:
            given, kept = getattr(self.options, name), extra["options"][name]
            if given not in (kept, defaults.get_default(name)):
                raise ValueError(
                    f"--{name} {given} differs from the checkpoint's {kept}; resume without it, or choose another --out"
                )
            setattr(self.options, name, kept)
        if self.options.data is None:
            self.options.data = extra["options"]["data"]

    def _build(self) -> None:
        import dlcore
        from dlcore.models import GPT2, GPT2Config
        from dlcore.optim import AdamW

        o = self.options
        dlcore.manual_seed(o.seed)
        self.model = GPT2(
            GPT2Config(
                vocab_size=len(self.alphabet),
                n_positions=o.context,
                n_embd=o.width,
                n_layer=o.layers,
                n_head=o.heads,
                dropout=o.dropout,
            )
        )
        parameters = list(self.model.parameters())
        # Decay what is multiplied with, not biases and norms.
        self.optimizer = AdamW(
            [
                {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
                {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=o.lr,
            betas=BETAS,
        )

    def flops_per_token(self) -> float:
        """Multiply-adds count two; forward, and backward at twice the forward."""
        o = self.options
        block = 12 * o.width * o.width + o.context * o.width  # projections and feed-forward; causal attention
        return 3 * 2 * (o.layers * block + o.width * len(self.alphabet))

    def batch(self, step: int) -> tuple[Any, Any]:
        """Inputs and targets of a step: windows drawn from (seed, step) alone."""
        import numpy as np

        import dlcore

        o = self.options
        draw = np.random.Generator(np.random.Philox(key=o.seed, counter=step))
        starts = draw.integers(0, len(self.train_tokens) - o.context, o.batch)
        windows = self.train_tokens[starts[:, None] + np.arange(o.context + 1)]
        return dlcore.tensor(windows[:, :-1]), dlcore.tensor(windows[:, 1:])

    def validation_loss(self) -> float:
        """The mean loss over windows evenly spread through the held-out text: the same ones every time."""
        import numpy as np

        import dlcore

        o = self.options
        count = min(VALIDATION_WINDOWS, (len(self.val_tokens) - 1) // o.context)
        starts = np.linspace(0, len(self.val_tokens) - 1 - o.context, count).astype(np.int64)
        windows = self.val_tokens[starts[:, None] + np.arange(o.context + 1)]
        total = 0.0
        self.model.eval()
        with dlcore.no_grad():
            for i in range(0, count, o.batch):
                part = windows[i : i + o.batch]
                _, loss = self.model(dlcore.tensor(part[:, :-1]), targets=dlcore.tensor(part[:, 1:]))
                total += loss.item() * len(part)
        self.model.train()
        return total / count

    def train_step(self) -> float:
        """One optimiser step; returns its loss."""
        from dlcore.nn.utils import clip_grad_norm_

        lr = learning_rate(self.step, self.options.steps, self.options.lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        _, loss = self.model(*self.batch(self.step))
        loss.backward()
        clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def save(self) -> None:
        import dlcore
        from dlcore import io

        kept = {name: getattr(self.options, name) for name in (*FIXED, "data")}
        io.save_checkpoint(
            self.checkpoint,
            model=self.model,
            optimizer=self.optimizer,
            generator=dlcore.get_rng_state(),
            extra={
                "step": self.step,
                "options": kept,
                "config": dataclasses.asdict(self.model.config),
                "characters": self.alphabet.characters,
            },
        )

    def sample(self, length: int) -> str:
        """Text that the model writes after a line break, from a generator of its own: training is not disturbed."""
        import dlcore

        generator = dlcore.Generator(self.options.seed + self.step)
        decoder = self.alphabet.decoder()
        start = (
            "\n" if self.alphabet.level == "byte" or "\n" in self.alphabet.characters else self.alphabet.characters[0]
        )
        prompt = self.alphabet.encode(start.encode())
        self.model.eval()
        tokens = self.model.generate(
            prompt.tolist(), max_new_tokens=length, temperature=0.8, top_p=0.95, generator=generator
        )
        text = "".join(decoder.decode(t) for t in tokens)
        self.model.train()
        return text


def _characters(text: bytes) -> str:
    return "".join(sorted(set(text.decode("utf-8"))))


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
    from dlcore import _C
    from dlcore.cli.report import Log, Progress, plot_losses

    _check(options)
    out = Path(options.out)
    if not options.resume and (out / "checkpoint").exists():
        raise ValueError(f"{out} already holds a run; go on with --resume, or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(options)
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
    if options.resume:
        print(f"resuming at step {trainer.step} of {steps}")

    every = max(steps // 10, 1)
    log = Log(out / "log.jsonl", trainer.step)
    progress = Progress(trainer.step, steps)
    last_save = time.monotonic()
    speed = 0.0
    val_loss = None
    with _Interrupt() as interrupt:
        try:
            while trainer.step < steps and not interrupt.requested:
                started = time.perf_counter()
                loss = trainer.train_step()
                rate = o.batch * o.context / (time.perf_counter() - started)
                speed = rate if speed == 0 else 0.9 * speed + 0.1 * rate
                record: dict[str, Any] = {"step": trainer.step, "loss": loss}
                measure = trainer.step % every == 0 or trainer.step == steps
                if measure:
                    val_loss = record["val_loss"] = trainer.validation_loss()
                record["tokens_per_second"] = round(rate)
                log.write(**record)
                share = speed * trainer.flops_per_token() / peak
                progress.update(trainer.step, f"loss {loss:.3f}, {speed:,.0f} tokens/s, {share:.0%} of peak")
                if measure:
                    progress.say(f"step {trainer.step}: validation loss {val_loss:.4f}")
                    if trainer.step % (5 * every) == 0 and trainer.step < steps:
                        progress.say(_indented(trainer.sample(240)))
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the loss is {loss} at step {trainer.step}; lower --lr (the last checkpoint is untouched)"
                    )
                if measure or time.monotonic() - last_save > 20:
                    trainer.save()
                    last_save = time.monotonic()
        finally:
            progress.close()
            log.close()
        if interrupt.requested:
            trainer.save()
            print(
                f"interrupted at step {trainer.step} of {steps}; everything is saved. Go on with:\n"
                f"  dlcore train --resume --out {out}"
            )
            return 130

    text = trainer.sample(600)
    (out / "sample.txt").write_text(text)
    print(f"\nA sample:\n{_indented(text)}\n")
    if val_loss is not None:
        print(f"final validation loss {val_loss:.4f}")
    drawn = plot_losses(out / "log.jsonl", out / "loss.png")
    print(
        f"log: {out / 'log.jsonl'}"
        + (f", curve: {out / 'loss.png'}" if drawn else ' (install the extra "plot" for a curve)')
    )
    print(f'checkpoint: {trainer.checkpoint}\nlet it write:\n  dlcore generate {out} --prompt "def "')
    return 0


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())
