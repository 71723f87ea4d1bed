"""The errors that a user can cause; the command line prints their message as one line and exits with code 2."""

LONGEST = 2_000


class ArchsweepError(Exception):
    """Wrong input. The message names what was wrong, what was received, and what to do.

    It is one line of printable text whatever was received: files may hold line ends and what steers a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(sign if sign.isprintable() else " " for sign in message)[:LONGEST])


class InvalidCellError(ArchsweepError, ValueError):
    """A graph that is no cell of the search space."""


class DataError(ArchsweepError):
    """A file that cannot be read as what it should be: a damaged record, a missing column, another format."""


class EvaluationError(Exception):
    """One proposal cannot be evaluated, for the reason given. Pools turn it into a failed trial, never into a value."""
