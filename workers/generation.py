"""Dispatch in generations, as synchronous searches do it: what asynchronous dispatch is compared with."""

from __future__ import annotations

from nas.trial import Trial
from workers.base import Pool


class GenerationPool:
    """A pool around another: once a trial has finished, none is taken until all in flight have.

    ending: whether a search that is resumed had come so far with the trials that it submits first.
    """

    def __init__(self, inner: Pool, ending: bool = False) -> None:
        self._inner = inner
        self._in_flight, self._ending = 0, ending

    @property
    def now(self) -> float:
        return self._inner.now

    def idle(self) -> int | None:
        return None if self._ending else self._inner.idle()

    def submit(self, trial: Trial) -> None:
        self._in_flight += 1
        self._inner.submit(trial)

    def wait(self) -> list[Trial]:
        finished = self._inner.wait()
        self._in_flight -= len(finished)
        if finished:
            self._ending = self._in_flight > 0
        return finished

    def close(self) -> None:
        self._inner.close()
