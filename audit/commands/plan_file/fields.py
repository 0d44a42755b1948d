"""What every table of a plan file shares: the strict base, and numbers in their ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

ReferenceName = Literal["retrain_then_unlearn", "retrain_only"]
Probability = Annotated[float, Field(gt=0, lt=1)]
# Beyond these, squares overflow or vanish; nobody means such a number.
SMALLEST, LARGEST = 1e-100, 1e100


def _not_vanishing(value: float) -> float:
    if 0 < value < SMALLEST:
        raise ValueError(f"expected 0, or at least {SMALLEST:g}")
    return value


Positive = Annotated[float, Field(ge=SMALLEST, le=LARGEST)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST), AfterValidator(_not_vanishing)]
# A million training steps or hidden units are far beyond what can be drawn thousands of times.
LARGEST_COUNT = 10**6
AtLeastOne = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
AtLeastZero = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]


class Section(BaseModel):
    """A table of a plan file: frozen, no type is converted, and an unknown key is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
