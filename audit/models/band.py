"""Retained models against retained models: how far apart records seem where nothing was unlearned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.records.models import NullBand
from audit.trials.chunks import Stream, make_generator

Array = NDArray[np.float64]
N_SPLITS = 19
# Records and points of the curve: more cost time and show no more.
_MOST_RECORDS, _N_SHARES = 2_000, 60


def areas(first: Array, second: Array, per_record: int = 1) -> Array:
    """Return for each record the probability that the first sample's number exceeds the second's, ties for half.

    Of several numbers a record the one farthest from 1/2 is taken.
    """
    columns = np.empty(first.shape[1])
    n1, n0 = len(first), len(second)
    for start in range(0, first.shape[1], 500):
        block = np.concatenate([first[:, start : start + 500], second[:, start : start + 500]])
        columns[start : start + 500] = (_mean_ranks(block)[:n1].sum(axis=0) - n1 * (n1 + 1) / 2) / (n1 * n0)
    if per_record == 1:
        return columns
    grouped = columns.reshape(-1, per_record)
    return np.asarray(grouped[np.arange(len(grouped)), np.argmax(np.abs(grouped - 0.5), axis=1)])


def _mean_ranks(block: Array) -> Array:
    """Return ranks from 1 in each column, equal values sharing their mean rank."""
    order = np.argsort(block, axis=0)
    ordered = np.take_along_axis(block, order, axis=0)
    n = len(block)
    places = np.arange(1, n + 1, dtype=np.float64)[:, None]
    is_new = np.ones(block.shape, dtype=np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    is_last = np.ones(block.shape, dtype=np.bool_)
    is_last[:-1] = is_new[1:]
    first = np.maximum.accumulate(np.where(is_new, places, 0.0), axis=0)
    last = np.minimum.accumulate(np.where(is_last, places, n)[::-1], axis=0)[::-1]
    ranks = np.empty(block.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=0)
    return ranks


def null_band(retrained: Array, per_record: int, *, n: tuple[int, int], seed: int) -> NullBand:
    """Return the band of ranked distances of AUC from 1/2 over random halves of retrained models.

    Parameters
    ----------
    retrained
        Statistics, shape (models, records times ``per_record``).
    n
        Models of the two worlds that the band is drawn beside: halves are smaller, and their spread is scaled to these.
    seed
        Of the halves.

    Notes
    -----
    An estimate that decides nothing: the smallest and the largest of 19 splits, which a curve leaves at one rank with
    probability of about 1/10 where all models are of one world. Of more than 2,000 records every so many-th is taken.
    """
    width = retrained.shape[1] // per_record
    chosen = np.unique(np.linspace(0, width - 1, min(width, _MOST_RECORDS)).round().astype(np.intp))
    values = retrained.reshape(len(retrained), width, per_record)[:, chosen].reshape(len(retrained), -1)
    rng, half = make_generator(seed, Stream.PAIRING, 1), len(retrained) // 2
    scale = np.sqrt((1 / n[0] + 1 / n[1]) / (1 / half + 1 / (len(retrained) - half)))
    shares = np.linspace(0, 1, min(len(chosen), _N_SHARES))
    curves = []
    for _ in range(N_SPLITS):
        shuffled = rng.permutation(len(retrained))
        found = areas(values[shuffled[:half]], values[shuffled[half:]], per_record)
        curves.append(at_shares(scale * np.abs(found - 0.5), shares))
    return NullBand(
        shares=tuple(map(float, shares)),
        low=tuple(map(float, np.min(curves, axis=0))),
        high=tuple(map(float, np.minimum(np.max(curves, axis=0), 0.5))),
        splits=N_SPLITS,
    )


def at_shares(distances: Array, shares: Array) -> Array:
    """Return distances ranked from the largest down, at shares of the records in [0, 1]."""
    ordered = np.sort(distances)[::-1]
    return np.asarray(np.interp(shares * (len(ordered) - 1), np.arange(len(ordered)), ordered))
