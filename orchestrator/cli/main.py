"""The command line: `archsweep`."""

from __future__ import annotations

import os
import signal
import sys

import click

from nas.errors import ArchsweepError
from orchestrator.cli.audit import audit
from orchestrator.cli.compare import compare
from orchestrator.cli.look import analyze, draw
from orchestrator.cli.runs import export, stop, track, ui, verify
from orchestrator.cli.say import FAILURE, INTERRUPTED, complain
from orchestrator.cli.search import search, searchers
from orchestrator.cli.sweep import report, sweep
from orchestrator.cli.table import table
from orchestrator.cli.train import drift, train


def main() -> None:
    """The entry point: what a user did wrong is one line on standard error and exit code 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli(prog_name="archsweep", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = FAILURE
    except click.ClickException as error:
        code = complain(f"{error.format_message()} See `{_command(error)} --help`.")
    except ArchsweepError as error:
        code = complain(str(error))
    except (KeyboardInterrupt, click.Abort):
        code = complain("interrupted; run the same command again to go on", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # e.g. `archsweep ... | head`
        code = FAILURE
    except OSError as error:  # e.g. a disk that is full
        code = complain(f"{error.filename or 'a file'}: {error.strerror or error}")
    sys.exit(code)


def _command(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context else "archsweep"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="archsweep")
def cli() -> None:
    """Search for neural architectures, from one laptop to a Ray cluster.

    \b
    A first search, on the table in the box, then on NAS-Bench-101:
      archsweep search
      archsweep table import nasbench_only108.tfrecord nb101.arrow
      archsweep search --table nb101.arrow --searcher evolution --trials 1000
      archsweep ui
    """


cli.add_command(search)
cli.add_command(searchers)
cli.add_command(sweep)
cli.add_command(report)
cli.add_command(analyze)
cli.add_command(draw)
cli.add_command(audit)
cli.add_command(compare)
cli.add_command(export)
cli.add_command(table)
cli.add_command(train)
cli.add_command(drift)
cli.add_command(stop)
cli.add_command(track)
cli.add_command(verify)
cli.add_command(ui)
