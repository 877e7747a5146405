"""Records of a run folder. Only the fields that the report shows are declared."""

from typing import Literal, Self

from pydantic import BaseModel, FiniteFloat, model_validator

from evossl.genes import GeneValue


class Verdict(BaseModel):
    """The verdict of `winner.json`."""

    line: str
    warning: str | None
    outcome: Literal["better", "not_better", "cannot_tell"]


class Winner(BaseModel):
    """`winner.json`."""

    trial: int
    steps: int
    weights: dict[str, float]
    genes: dict[str, GeneValue] = {}
    fitness: float | None
    seconds: float
    note: str | None = None
    verdict: Verdict


class Example(BaseModel):
    """An example clip of a cluster: its video, and its start in seconds."""

    path: str
    start: float


class Clusters(BaseModel):
    """`clusters.json`."""

    shares: list[float]
    zipf: list[float]
    examples: list[list[Example]]


class Scores(BaseModel):
    """`evaluation.json`: {protocol: {metric: value}} of the encoder and of a random init."""

    encoder: dict[str, dict[str, float | list[float]]]
    random_init: dict[str, dict[str, float | list[float]]]
    n_videos: int
    classes: list[str]


class Conflict(BaseModel):
    """Cosines between the gradients of terms, one row and one column per term."""

    terms: list[str]
    cosine: list[list[FiniteFloat]]

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        if {len(self.terms)} != {len(self.cosine), *map(len, self.cosine)}:
            raise ValueError(f"needs a row and a column for each of its {len(self.terms)} terms")
        return self


class Step(BaseModel):
    """A line of `history.jsonl`."""

    step: int
    total: float
    loss: dict[str, float]
    conflict: Conflict | None = None
