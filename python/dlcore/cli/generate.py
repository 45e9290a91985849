"""``dlcore generate``: a trained model continues a prompt, token by token."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="the directory of a run, or its checkpoint")
    add("--prompt", default="\n", help="the text to continue")
    add("--max-new-tokens", type=int, default=400, metavar="N", help="how many tokens to write")
    add("--temperature", type=float, default=0.8, metavar="F", help="below 1: safer choices; 0: always the likeliest")
    add("--top-k", type=int, metavar="N", help="choose among the N likeliest tokens")
    add(
        "--top-p", type=float, metavar="F", help="choose among the likeliest tokens that hold this probability together"
    )
    add("--seed", type=int, metavar="N", help="for the same text again")
    add("--threads", type=int, metavar="N", help="threads (default: the available cores)")


def load(checkpoint: Path) -> tuple[Any, Any]:
    """The model of a checkpoint, ready to write, and its alphabet."""
    from dlcore import io
    from dlcore.cli.corpus import Alphabet
    from dlcore.models import GPT2, GPT2Config

    kept = io.load_checkpoint(checkpoint)
    model = GPT2(GPT2Config(**kept.extra["config"]))
    kept.restore(model=model)
    return model.eval(), Alphabet(kept.extra["options"]["level"], kept.extra["characters"])


def run(options: argparse.Namespace) -> int:
    """Prints the prompt and what the model makes of it, as it comes."""
    import dlcore

    if options.max_new_tokens < 0:
        raise ValueError(f"--max-new-tokens must not be negative, got {options.max_new_tokens}")
    if options.threads is not None:
        dlcore.set_num_threads(options.threads)
    path = Path(options.checkpoint)
    model, alphabet = load(path / "checkpoint" if (path / "checkpoint").exists() else path)
    prompt = alphabet.encode(options.prompt.encode())
    if len(prompt) == 0:
        raise ValueError("--prompt must not be empty")
    if options.seed is not None:
        dlcore.manual_seed(options.seed)
    decoder = alphabet.decoder()
    sys.stdout.write(options.prompt)
    tokens = model.generate(
        prompt.tolist(),
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    for token in tokens:
        sys.stdout.write(decoder.decode(token))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
