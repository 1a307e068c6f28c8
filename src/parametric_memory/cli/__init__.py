"""`pmem`: the library at the shell. A command parses, calls the library, and prints.

Nothing heavy is imported before a command runs, so that help is quick; `memory` opens what a command works on.
"""

from __future__ import annotations

import sys

from parametric_memory.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Run `pmem`, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that lacks a letter shows its number, rather than ending the command.
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="pmem")
