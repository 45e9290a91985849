"""``dlcore generate``: a trained model continues a prompt, token by token."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

from dlcore.cli.common import check_seed, load_run, set_threads

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="the directory of a run, or its checkpoint")
    add("--prompt", default="\n", help="the text to continue (default: a line break)")
    add("--max-new-tokens", type=int, default=400, metavar="N", help="how many tokens to write (default: 400)")
    add(
        "--temperature",
        type=float,
        default=0.8,
        metavar="F",
        help="below 1: safer choices; 0: always the likeliest (default: 0.8)",
    )
    add("--top-k", type=int, metavar="N", help="choose among the N likeliest tokens")
    add(
        "--top-p", type=float, metavar="F", help="choose among the likeliest tokens that hold this probability together"
    )
    add("--seed", type=int, metavar="N", help="for the same text again")
    add("--threads", type=int, metavar="N", help="threads (default: the available cores)")


def _check(options: argparse.Namespace) -> None:
    if not options.prompt:
        raise ValueError("--prompt must not be empty")
    if options.max_new_tokens < 0:
        raise ValueError(f"--max-new-tokens must not be negative, got {options.max_new_tokens}")
    if not (options.temperature >= 0 and math.isfinite(options.temperature)):
        raise ValueError(f"--temperature must be a number of at least 0, got {options.temperature}")
    if options.top_k is not None and options.top_k < 1:
        raise ValueError(f"--top-k must be at least 1, got {options.top_k}")
    if options.top_p is not None and not 0 < options.top_p <= 1:
        raise ValueError(f"--top-p must be over 0 and at most 1, got {options.top_p}")
    if options.seed is not None:
        check_seed(options.seed)


def run(options: argparse.Namespace) -> int:
    """Prints the prompt and what the model makes of it, as it comes."""
    import dlcore
    from dlcore.cli.corpus import Alphabet
    from dlcore.models import GPT2, GPT2Config

    _check(options)
    set_threads(options.threads)
    path = Path(options.checkpoint)
    kept = load_run(path if (path / "state.json").exists() else path / "checkpoint")
    model = GPT2(GPT2Config(**kept.extra["config"]))
    kept.restore(model=model)
    alphabet = Alphabet(kept.extra["options"]["level"], kept.extra["characters"])
    try:
        prompt = alphabet.encode(os.fsencode(options.prompt))
    except ValueError as e:
        raise ValueError(f"--prompt: {e}") from None
    if options.seed is not None:
        dlcore.manual_seed(options.seed)
    decoder = alphabet.decoder()
    sys.stdout.write(options.prompt)
    tokens = model.eval().generate(
        prompt.tolist(),
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    for token in tokens:
        sys.stdout.write(decoder.decode(token))
        sys.stdout.flush()
    sys.stdout.write(decoder.finish() + "\n")
    return 0
