"""The page of certificates: its numbers agree in every format, are rounded outward, and hold for odd inputs too."""

from __future__ import annotations

import csv
import json
import math
import re
import time
from dataclasses import fields, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.certification import Certification, RecordRow, RouteRow
from audit.result import DataRecord, Environment, Preview
from mechanisms.errors import InvalidInputError
from reports.certification import certification_summary, write_certification
from reports.certification_view import page
from reports.numbers import as_float, up

HOSTILE = '<script>alert("x")</script>&|`$_$`[a](javascript:b)\x1b\n# x'
BREAKING = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{NON-BREAKING HYPHEN}": "-"})
FACTORS = {"exact": 1.0, "repaired": 3.6, "published": 4.93, "uniform": 20.4}
TARGET = 0.5


def digit(record: int) -> Preview:
    rng = np.random.default_rng(record)
    grid = np.zeros((8, 8))
    grid[1:7, 2:6] = rng.integers(0, 17, (6, 4)) / 16
    return Preview(record=record, target=str(record % 10), image_shape=(8, 8), values=tuple(grid.ravel().tolist()))


def record_rows(n: int, *, target: float | None) -> tuple[RecordRow, ...]:
    rng = np.random.default_rng(11)
    difficulties = rng.lognormal(-1.2, 0.7, n)
    rows = []
    for record, difficulty in enumerate(difficulties.tolist()):
        without = 3.1 * difficulty * math.exp(0.2 * rng.standard_normal())
        if target is None:
            sigma, epsilon = 0.004, without / (1 + 0.4 * math.log1p(9 * difficulty))
        elif without <= target:
            sigma, epsilon = 0.0, without
        else:
            sigma, epsilon = 0.0031 * difficulty * (without - target) ** 0.4, target * (1 - 1e-8)
        rows.append(
            RecordRow(
                record=record,
                difficulty=difficulty,
                sigma_unlearn=sigma,
                epsilon_unlearned_from_retrained=epsilon,
                epsilon_retrained_from_unlearned=0.93 * epsilon,
                epsilon_without_unlearning=without,
            )
        )
    return tuple(rows)


def route_rows(rows: tuple[RecordRow, ...], *, target: float | None) -> tuple[RouteRow, ...]:
    ordered = sorted(rows, key=lambda row: -row.difficulty)
    places = np.linspace(0, len(ordered) - 1, min(4, len(ordered))).round().astype(int)
    labels = {0: "hardest", len(ordered) - 1: "easiest"}
    found = []
    for place in places.tolist():
        row = ordered[place]
        for route, factor in FACTORS.items():
            is_free = target is not None and row.sigma_unlearn == 0 and route == "exact"
            found.append(
                RouteRow(
                    record=row.record,
                    label=labels.get(place, ""),
                    route=route,
                    sigma_unlearn=row.sigma_unlearn if target is None else factor * max(row.sigma_unlearn, 0.0002 * (factor > 1)),
                    epsilon=factor * row.epsilon if target is None else min(row.epsilon, target) if is_free else target,
                    exact_epsilon=row.epsilon if target is None else row.epsilon / factor,
                    accuracy=0.882 - 0.01 * factor * row.difficulty,
                    note="The learning noise alone suffices." if is_free else "",
                )
            )
        found.append(
            RouteRow(
                record=row.record,
                label=labels.get(place, ""),
                route="downdate",
                sigma_unlearn=0.0,
                epsilon=0.0,
                exact_epsilon=0.0,
                accuracy=0.882,
                note="Exact deletion in closed form, without noise.",
            )
        )
    return tuple(found)


def make(n: int = 1500, *, target: float | None = TARGET, **changes: Any) -> Certification:
    rows = record_rows(n, target=target)
    routes = route_rows(rows, target=target)
    cost = [row.record for row in sorted(rows, key=lambda row: (row.sigma_unlearn, row.epsilon))]
    shown = dict.fromkeys([*(row.record for row in routes), *cost[:10], *cost[-10:]])
    made = Certification(
        title="Certificates of ridge_langevin on digits",
        mechanism="ridge_langevin",
        parameters={
            "penalty": 1.0,
            "step_size": 0.000207,
            "n_learn": 300,
            "n_unlearn": 100,
            "sigma_learn": 0.001,
            "sigma_unlearn": 0.004 if target is None else "calibrated per record (exact)",
            "reference": "retrain_then_unlearn",
        },
        data=DataRecord(
            name="digits", sha256="5e" * 32, n_records=n, n_features=65, n_targets=10, kind="classification"
        ),
        delta=1e-5,
        target_epsilon=target,
        rows=rows,
        routes=routes,
        previews=tuple(digit(record) for record in shown),
        assumptions={
            "exact": ("The noise is Gaussian and independent across steps.", "The last iterate alone is released."),
            "repaired": ("The learning chain is compared with one whose deleted gradients are clipped",),
            "published": (
                "Proof gap: the accounting conditions on an event that depends on the noise it then uses.",
                "The last iterate alone is released.",
            ),
            "uniform": ("One certificate for every forget set of this size, from these data.",),
        },
        environment=Environment(
            started="2026-02-03T04:05:06+00:00",
            seconds=41.25,
            python="3.11.9",
            platform="Linux",
            libraries={"numpy": "2.1.0", "scipy": "1.15.0"},
            n_jobs=2,
            command="unlearn-audit calibrate --data digits --epsilon 0.5 --delta 1e-5 --records all",
        ),
    )
    return replace(made, **changes)
