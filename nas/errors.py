"""The errors that a user can cause; the command line prints their message as one line and exits with code 2."""


class ArchsweepError(Exception):
    """Wrong input. The message names what was wrong, what was received, and what to do."""


class InvalidCellError(ArchsweepError, ValueError):
    """A graph that is no cell of the search space."""


class DataError(ArchsweepError):
    """A file that cannot be read as what it should be: a damaged record, a missing column, another format."""


class EvaluationError(Exception):
    """One proposal cannot be evaluated, for the reason given. Pools turn it into a failed trial, never into a value."""
