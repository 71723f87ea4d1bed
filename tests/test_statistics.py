"""Claims about whether searchers differ."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orchestrator.statistics import compared, decided, holm, interval, least_p, looks, spearman


def test_holm_gives_the_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(raw <= value <= min(1, raw * len(p)) + 1e-12 for raw, value in zip(p, adjusted, strict=True))
    ordered = [value for _, value in sorted(zip(p, adjusted, strict=True))]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize("seeds", [12, 200])
def test_a_pair_is_compared_by_the_signed_rank_test_of_the_seeds_that_both_have(seeds: int) -> None:
    rng = np.random.default_rng(1)
    losses = rng.random((seeds, 2))
    losses[3, 1] = np.nan
    found = compared(losses)[0]
    difference = np.delete(losses[:, 0] - losses[:, 1], 3)
    assert found.seeds == seeds - 1
    assert found.p == pytest.approx(stats.wilcoxon(difference).pvalue, rel=1e-6)
    assert found.difference == pytest.approx(difference.mean())


@pytest.mark.parametrize("seeds", [4, 5, 9, 18])
def test_ties_make_nothing_surer_than_the_best_sign_pattern(seeds: int) -> None:
    tied = np.column_stack([np.zeros(seeds), np.ones(seeds)])
    p = compared(tied)[0].p
    assert p == pytest.approx(least_p(seeds, 1)) if seeds < 10 else least_p(seeds, 1) <= p < 0.01
    rng = np.random.default_rng(seeds)
    some = np.round(rng.normal(0.4, 1, size=seeds), 0)
    signs = some[some != 0]
    if len(signs) <= 9:
        ranks = stats.rankdata(np.abs(signs))
        sums = np.array(list(product([-1, 1], repeat=len(signs)))) @ ranks
        exact = (np.abs(sums) >= abs(np.sign(signs) @ ranks)).mean()
        assert compared(np.column_stack([some, np.zeros(seeds)]))[0].p == pytest.approx(exact)


def test_equal_or_missing_searchers_are_not_told_apart() -> None:
    losses = np.column_stack([np.arange(9.0), np.arange(9.0), np.full(9, np.nan)])
    assert [pair.p for pair in compared(losses)] == [1, 1, 1]


def test_the_smallest_p_is_reached_by_a_searcher_that_is_better_with_every_seed() -> None:
    losses = np.column_stack(
        [np.arange(8.0), np.arange(8.0) + 1 + np.arange(8) / 100, np.arange(8.0) + 9 + np.arange(8) / 50]
    )
    assert compared(losses)[0].p == pytest.approx(least_p(8, 3))


def test_the_interval_is_students_and_leaves_out_what_is_missing() -> None:
    values = np.array([[1.0], [2.0], [np.nan], [4.0]])
    mean, half = interval(values, 0.9)
    low, high = stats.t.interval(0.9, 2, loc=7 / 3, scale=stats.sem([1, 2, 4]))
    assert (mean[0] - half[0], mean[0] + half[0]) == pytest.approx((low, high))
    assert np.isnan(interval(values[:1])[1][0])


def test_looks_double_and_stay_below_the_last_seed() -> None:
    assert looks(10, 81) == [10, 20, 40, 80]
    assert looks(10, 80) == [10, 20, 40]
    assert looks(10, 10) == []


def test_a_sweep_is_decided_when_searchers_are_told_apart_or_found_the_same() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(20, 2))
    assert decided(np.column_stack([noise[:, 0] / 10, noise[:, 1] / 10 + 1]), 0.05, 0.01)
    assert decided(noise / 1_000, 0.05, 0.01)
    assert not decided(noise, 0.05, 0.01)
    assert not decided(noise[:, :1], 0.05, 0.01), "there is nothing to decide"
    assert not decided(noise[:2] / 1_000, 0.05, 0.01)


def test_equal_searchers_are_rarely_told_apart_at_any_look() -> None:
    rng = np.random.default_rng(5)
    due = looks(10, 80)
    wrong = sum(
        any(decided(losses[:seeds], 0.05 / len(due), 1e-9) for seeds in due) for losses in rng.normal(size=(300, 80, 2))
    )
    assert wrong <= 0.05 * 300 + 2 * np.sqrt(0.05 * 0.95 * 300)


def test_spearman_is_scipys_on_what_both_have() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 9, (2, 50)).astype(float)
    b[7] = np.nan
    keep = np.arange(50) != 7
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a[keep], b[keep]).statistic)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))
