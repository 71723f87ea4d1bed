"""The pool that a search's configuration names."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.records.state import State
from orchestrator.search.loop import Streams
from orchestrator.settings.config import Config
from workers.base import Evaluator, Pool
from workers.cluster import Cluster
from workers.generation import GenerationPool
from workers.inline import InlinePool
from workers.ledger import Ledger, LedgerPool
from workers.simulated import SimulatedPool
from workers.source import Source

CLUSTER_STREAMS = 1 << 64
"""What is added to a search's seed, which is smaller, for the streams of what happens on the simulated cluster."""


def opened(
    config: Config,
    source: Source,
    evaluator: Evaluator | None,
    state: State,
    ledger: Ledger | None,
    generation_ends: bool,
) -> Pool:
    """The pool of the configuration, its clock where the journal left it.

    evaluator: None on Ray. generation_ends: whether a trial has finished since the last one was asked, other than from
    the ledger.
    """
    section, now = config.pool, state.clock
    pool: Pool
    if evaluator is None:
        from workers.ray_fleet import HostSpec  # Ray takes a second to import
        from workers.ray_pool import RayPool

        hosts = HostSpec(memory=section.memory_bytes, seconds=section.trial_seconds)
        if source.alone:
            hosts = replace(hosts, trials=1, cpus=section.cpus, gpus=section.gpus)
        make = source.elsewhere
        pool = RayPool(make, section.workers, section.address, now, section.retries, hosts, section.patience_seconds)
    elif section.kind == "simulated":
        seed = config.seed
        cluster = Cluster(section.classes, seed, Streams(seed + CLUSTER_STREAMS), source.budgets[-1])
        pool = SimulatedPool(evaluator, cluster, now)
    else:
        pool = InlinePool(evaluator, now)
    if section.dispatch == "generation":
        pool = GenerationPool(pool, generation_ends and bool(state.pending))
    return pool if ledger is None else LedgerPool(pool, ledger, section.workers)
