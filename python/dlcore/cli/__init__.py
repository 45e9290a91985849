"""The command line: ``dlcore train``, ``dlcore generate``, ``dlcore config``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status; bad input prints one clear line and gives 2."""
    from dlcore.cli import generate, train

    parser = argparse.ArgumentParser(prog="dlcore", description="Train and run language models on the CPU.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train.add_arguments(commands.add_parser("train", help="train a GPT on text", formatter_class=_Formatter))
    generate.add_arguments(commands.add_parser("generate", help="let a trained GPT write", formatter_class=_Formatter))
    commands.add_parser("config", help="show version, instruction set, threads and compiler")
    options = parser.parse_args(argv)
    try:
        if options.command == "config":
            import dlcore

            dlcore.show_config()
            return 0
        return (train if options.command == "train" else generate).run(options)
    except (ValueError, TypeError, IndexError, MemoryError, OSError) as error:
        print(f"dlcore {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass
