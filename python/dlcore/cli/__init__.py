"""The command line: ``dlcore train``, ``dlcore generate``, ``dlcore config``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    0: done; 2: bad input or a failed write, after one clear line; 130: Ctrl-C; 141: the reader of the output has left.
    """
    import dlcore
    from dlcore.cli import generate, train

    parser = argparse.ArgumentParser(prog="dlcore", description="Train and run language models on the CPU.")
    parser.add_argument("--version", action="version", version=f"dlcore {dlcore.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train.add_arguments(commands.add_parser("train", help="train a GPT on text"))
    generate.add_arguments(commands.add_parser("generate", help="let a trained GPT write"))
    commands.add_parser("config", help="show version, instruction set, threads and compiler")
    options = parser.parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a model may write what the terminal's encoding lacks
    try:
        status = 0
        if options.command == "config":
            dlcore.show_config()
        else:
            status = (train if options.command == "train" else generate).run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return 141
    except (ValueError, TypeError, IndexError, MemoryError, OSError) as error:
        print(f"dlcore {options.command}: {error or 'out of memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ndlcore {options.command}: interrupted", file=sys.stderr)
        return 130
    finally:
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """What cannot be written (a full disk, a closed pipe) must not be tried again, and fail again, at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
