"""What every table of a plan file shares: the strict base, and numbers in their ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ReferenceName = Literal["retrain_then_unlearn", "retrain_only"]
Probability = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of a plan file: frozen, no type is converted, and an unknown key is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
