"""The records of a run folder that the report shows, as far as it shows them."""

from typing import Self

from pydantic import BaseModel, FiniteFloat, model_validator


class VerdictPart(BaseModel):
    """Of `winner.json`."""

    line: str
    warning: str | None
    beats_controls: bool


class Winner(BaseModel):
    """`winner.json`, as far as the report shows it."""

    trial: int
    steps: int
    weights: dict[str, float]
    fitness: float | None
    seconds: float
    verdict: VerdictPart


class Example(BaseModel):
    """A clip of a cluster: the video, and where the clip starts in it, in seconds."""

    path: str
    start: float


class Clusters(BaseModel):
    """`clusters.json`."""

    shares: list[float]
    zipf: list[float]
    examples: list[list[Example]]


class Scores(BaseModel):
    """`evaluation.json`, as far as the report shows it: {protocol: {metric: value}}."""

    encoder: dict[str, dict[str, float | list[float]]]
    random_init: dict[str, dict[str, float | list[float]]]
    n_videos: int
    classes: list[str]


class Conflict(BaseModel):
    """Of a line of `history.jsonl`: cosines between the gradients of terms, a row a term."""

    terms: list[str]
    cosine: list[list[FiniteFloat]]

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        if {len(self.terms)} != {len(self.cosine), *map(len, self.cosine)}:
            raise ValueError(f"needs a row and a column for each of its {len(self.terms)} terms")
        return self


class Step(BaseModel):
    """A line of `history.jsonl`, as far as the report shows it."""

    step: int
    total: float
    loss: dict[str, float]
    conflict: Conflict | None = None
