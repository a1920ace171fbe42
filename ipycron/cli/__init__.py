"""The `ipycron` command: run a file, examine an expression, see a demonstration."""

from ipycron.cli.command import main

__all__ = ["main"]
