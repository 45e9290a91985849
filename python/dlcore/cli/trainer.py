"""A training run of ``dlcore train``: all that its checkpoint holds, and a step."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

import dlcore
from dlcore import io
from dlcore.cli.common import check_seed, load_run
from dlcore.cli.corpus import Alphabet, read_corpus
from dlcore.models import GPT2, GPT2Config
from dlcore.nn.plan import MemoryPlan
from dlcore.nn.utils import clip_grad_norm_
from dlcore.optim import AdamW

__all__ = ["DEFAULTS", "Trainer"]

# What decides the result of a run, and so must be the same when it is resumed; out, threads and data's path may change.
DEFAULTS = {
    "level": "byte",
    "layers": 4,
    "heads": 4,
    "width": 128,
    "context": 64,
    "batch": 8,
    "steps": 3000,
    "lr": "0.5 / width",  # near what GPT-2 (768 wide) and nanoGPT's small models are trained with
    "dropout": 0.0,
    "seed": 1337,
}
WARMUP_STEPS = 100
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.99)
CLIP_NORM = 1.0
VALIDATION_WINDOWS = 480


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
    check_seed(options.seed)


class Trainer:
    """The state of a run, all of which a checkpoint holds: model, optimiser, random state, step.

    Args:
        options: of the command line; None for those of `DEFAULTS` that were not given. They are filled in, from the
            checkpoint where the run is resumed.

    Raises:
        ValueError: an option out of its range, text that does not do, or options that a resumed run cannot change.
        OSError: text or checkpoint cannot be read.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.checkpoint = Path(options.out) / "checkpoint"
        self.step = 0
        kept = self._load() if options.resume else None
        for name, value in DEFAULTS.items():
            if getattr(options, name) is None:
                setattr(options, name, 0.5 / max(options.width, 1) if name == "lr" else value)
        _check(options)

        text, self.corpus_label = read_corpus(options.data, Path(options.out))
        self.text_sum = hashlib.sha256(text).hexdigest()
        if kept is not None and kept.extra["text"] != self.text_sum:
            raise ValueError(
                f"--data: {self.corpus_label} is not the text that the run began with; choose another --out"
            )
        self.alphabet = Alphabet(options.level, _characters(text) if options.level == "char" else "")
        tokens = self.alphabet.encode(text)
        split = int(0.9 * len(tokens))
        needed = options.context + 1
        if min(split, len(tokens) - split) < needed:
            raise ValueError(
                f"--data: {self.corpus_label} has {len(tokens)} tokens; "
                f"a context of {options.context} needs at least {10 * needed}"
            )
        self.train_tokens, self.val_tokens = tokens[:split], tokens[split:]
        self._build()
        if kept is not None:
            kept.restore(model=self.model, optimizer=self.optimizer)
            dlcore.set_rng_state(kept.generator)
            self.step = kept.extra["step"]

    def _load(self) -> io.Checkpoint:
        """The checkpoint to go on from. Its options become ours; one that was given and differs is refused by name."""
        try:
            kept = load_run(self.checkpoint)
        except FileNotFoundError as e:
            raise FileNotFoundError(f"--resume: {e}; start without --resume, or name the run with --out") from None
        except (ValueError, OSError) as e:
            raise ValueError(f"--resume: {e}") from None
        for name in DEFAULTS:
            given, value = getattr(self.options, name), kept.extra["options"][name]
            if given not in (None, value):
                raise ValueError(
                    f"--{name} {given} differs from the {value} that the run in {self.options.out} began with; "
                    "resume without it, or choose another --out"
                )
            setattr(self.options, name, value)
        if self.options.data is None:
            self.options.data = kept.extra["options"]["data"]
        return kept

    def _build(self) -> None:
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
        o = self.options
        # The low word of the counter counts what is drawn; a step in the next word has 2^64 draws of its own.
        draw = np.random.Generator(np.random.Philox(key=o.seed, counter=[0, step, 0, 0]))
        return self._windows(self.train_tokens, draw.integers(0, len(self.train_tokens) - o.context, o.batch))

    def _windows(self, tokens: np.ndarray, starts: np.ndarray) -> tuple[Any, Any]:
        windows = tokens[starts[:, None] + np.arange(self.options.context + 1)].astype(np.int64)
        return dlcore.tensor(windows[:, :-1]), dlcore.tensor(windows[:, 1:])

    def validation_loss(self) -> float:
        """The mean loss over windows evenly spread through the held-out text: the same ones every time."""
        o = self.options
        count = min(VALIDATION_WINDOWS, (len(self.val_tokens) - 1) // o.context)
        starts = np.linspace(0, len(self.val_tokens) - 1 - o.context, count).astype(np.int64)
        total = 0.0
        self.model.eval()
        with dlcore.no_grad():
            for i in range(0, count, o.batch):
                part = starts[i : i + o.batch]
                x, targets = self._windows(self.val_tokens, part)
                total += self.model.loss(x, targets).item() * len(part)
        self.model.train()
        return total / count

    def plan(self) -> MemoryPlan:
        """The memory of a training step, before it runs."""
        return self.model.plan(*self.batch(self.step), call=self.model.loss, optimizer=self.optimizer)

    def train_step(self) -> float:
        """One optimiser step; returns its loss.

        Raises:
            ValueError: the loss or a gradient is not finite; the model is as before.
        """
        lr = learning_rate(self.step, self.options.steps, self.options.lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        x, targets = self.batch(self.step)
        loss = self.model.loss(x, targets)
        loss.backward()
        norm = clip_grad_norm_(self.model.parameters(), CLIP_NORM).item()
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise ValueError(
                f"--lr {self.options.lr:g} is too high: at step {self.step + 1} the loss is {loss.item()} and the "
                f"gradients' norm {norm}; the last checkpoint is whole"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def save(self) -> None:
        options = {name: getattr(self.options, name) for name in DEFAULTS}
        data = self.options.data
        io.save_checkpoint(
            self.checkpoint,
            model=self.model,
            optimizer=self.optimizer,
            generator=dlcore.get_rng_state(),
            extra={
                "step": self.step,
                "options": {**options, "data": None if data is None else os.path.abspath(data)},
                "text": self.text_sum,
                "config": dataclasses.asdict(self.model.config),
                "characters": self.alphabet.characters,
            },
        )

    def sample(self, length: int) -> str:
        """Text that the model writes on a new line, or a function where the text is Python.

        From a generator of its own, so that training is not disturbed.
        """
        generator = dlcore.Generator(self.options.seed + self.step)
        decoder = self.alphabet.decoder()
        start = "def " if self.options.data is None else ""
        if self.alphabet.level == "byte" or "\n" in self.alphabet.characters:
            prompt = "\n" + start
        else:
            prompt = self.alphabet.characters[0]
        # No top-p: inside of a long indentation it would leave nothing but more spaces.
        tokens = self.model.generate(
            self.alphabet.encode(prompt.encode()).tolist(), length, temperature=0.8, generator=generator
        )
        return start + "".join(decoder.decode(t) for t in tokens) + decoder.finish()


def _characters(text: bytes) -> str:
    return "".join(sorted(set(text.decode("utf-8"))))
