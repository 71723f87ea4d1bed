"""What several commands take."""

from __future__ import annotations

from pathlib import Path

import click

from nas.table.packaged import packaged_table

table_argument = click.argument("table", metavar="[TABLE]", type=click.Path(path_type=Path), default=packaged_table)
"""The benchmark table that a command reads: the one in the box unless another is named."""
CELL_HELP = (
    "The cell as JSON: a matrix and its ops as the published code has them, {"
    '"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}, or {"adjacency": "0100", "operations": "input,output"}.'
)
