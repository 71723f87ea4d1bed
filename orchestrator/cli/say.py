"""What the commands say: to people on a console, as one line where something is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable

FAILURE, INTERRUPTED = 2, 130
stdout = Console()
stderr = Console(stderr=True)


def complain(message: str, code: int = FAILURE) -> int:
    click.echo(f"archsweep: {' '.join(message.split())}", err=True)
    return code


def show(title: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Prints rows as a table, a column a key."""
    rows = list(rows)
    click.echo(title)
    shown = RichTable()
    for name in rows[0]:
        shown.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(shown)
