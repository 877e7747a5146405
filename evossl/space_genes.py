"""The genes of a space: read from the keys of its sections, and given values for a trial.

The options of tasks are read later (`io.task_options`), because only a task knows their types.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from evossl.genes import FindProblem, Gene, GeneValue, declares_gene, read_gene

AUGMENTATION_WORDS = {
    "augmentation.colour_strength": "colour",
    "augmentation.min_crop_area": "crop",
    "augmentation.noise_strength": "noise",
}
"""The word of `ignores` without which an augmentation is not applied."""
NO_TRIAL = "it is a setting of the search, not of a trial"
SHARED_KEYS = {
    "ignores": "the fitness follows it",
    "streams": "all trials train on the same clips",
    "clip": "the fitness scores clips of this kind",
    "cache": "all trials and the fitness read the same clips",
    "backbone": "all trials and controls have the same network",
    "fitness": "trials that are scored differently cannot be compared",
    "sampler": NO_TRIAL,
    "stopping": NO_TRIAL,
    "budget": NO_TRIAL,
    "resources": NO_TRIAL,
    "about": NO_TRIAL,
    "training.batch_size": "all trials train on the same batches",
    "training.normalize": "the gradient scales are measured once for all trials",
}
"""Keys and sections that cannot be genes, and why."""


class SpaceWithGenes(BaseModel):
    """A space in which a key of some sections may declare a range or choices.

    The key then has the gene's default, and the gene is in `genes`. Written to JSON or YAML, the
    space has its ranges again.
    """

    ignores: tuple[Any, ...]
    _genes: Mapping[str, Gene] = PrivateAttr(default_factory=dict)

    @property
    def genes(self) -> Mapping[str, Gene]:
        """The genes of all keys but task options, by their full keys."""
        return self._genes

    def with_genes(self, values: Mapping[str, GeneValue]) -> Self:
        """Return a space without genes, in which the named keys have the given values."""
        space = self.model_copy()
        for name, value in values.items():
            space = _with_value(space, _path(name), value)
        space._genes = {}
        return space

    @model_validator(mode="wrap")
    @classmethod
    def _read_genes(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(raw, Mapping):
            return handler(raw)
        plain, genes = read_space_genes(raw, cls)
        space = handler(plain)
        check_effect(genes, space.ignores)
        space._genes = genes
        return space

    @model_serializer(mode="wrap")
    def _write_genes(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for name, gene in self._genes.items():
            section, key = _path(name)
            if section in written:
                written[section][key] = gene.as_written()
        return written


def model_checker(field: FieldInfo) -> FindProblem:
    """Return a check of one value against a model's field, its bounds included."""
    annotated: Any = field.annotation
    for metadata in field.metadata:
        annotated = Annotated[annotated, metadata]
    adapter: TypeAdapter[object] = TypeAdapter(annotated)

    def find_problem(key: str, value: object) -> str | None:
        if isinstance(value, float) and not math.isfinite(value):
            return f"{key}: must be a finite number (got {value})"
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            return f"{key}: {error.errors()[0]['msg']} (got {value!r})"
        return None

    return find_problem


def read_space_genes(
    raw: Mapping[str, Any], model: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, Gene]]:
    """Return a space with each gene's default in its place, and the genes by their full keys.

    The options of tasks are left as they are; see `io.task_options`.

    Args:
        raw: the space, not validated yet.
        model: of the space; its sections are models too.

    Raises:
        ValueError: a gene that is not allowed; names its key and the remedy.
    """
    plain, genes = dict(raw), dict[str, Gene]()
    for section, value in raw.items():
        for key, one, field in _keys_below(section, value, model):
            name = f"{section}.{key}" if key else section
            if not declares_gene(one, field.annotation):
                continue
            if reason := SHARED_KEYS.get(name, SHARED_KEYS.get(section)):
                raise ValueError(
                    f"{name}: cannot be a gene: {reason}; give one value, and run a search for "
                    "each value that you want to compare"
                )
            check = model_checker(field)
            genes[name] = read_gene(name, one, field.annotation, field.default, check)
            plain[section] = {**plain[section], key: genes[name].default}
    return plain, genes


def _keys_below(
    section: str, value: object, model: type[BaseModel]
) -> Iterator[tuple[str, object, FieldInfo]]:
    """The known keys of a section, with their values and fields; "" is the section itself."""
    field = model.model_fields.get(section)
    inner = field.annotation if field else None
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        if isinstance(value, Mapping):
            for key, one in value.items():
                if key in inner.model_fields:
                    yield key, one, inner.model_fields[key]
    elif field is not None:
        yield "", value, field


def check_effect(genes: Iterable[str], ignores: Sequence[str]) -> None:
    """Refuse a gene of an augmentation that `ignores` does not ask for.

    Raises:
        ValueError: names the gene and the remedy.
    """
    for name in genes:
        word = AUGMENTATION_WORDS.get(name)
        if word is not None and word not in ignores:
            raise ValueError(
                f"{name}: has no effect, because `ignores` lacks {word}: add {word} to `ignores`, "
                "or remove the range"
            )


def _path(gene: str) -> tuple[str, ...]:
    """Return the keys that lead to a gene; the name of an option follows ".options."."""
    section, _, key = gene.partition(".")
    if section != "tasks":
        return section, key
    task, _, option = key.partition(".options.")
    return section, task, "options", option


def _with_value(part: Any, path: tuple[str, ...], value: GeneValue) -> Any:
    """Return a copy of a model or mapping with another value at a path below it."""
    key, *below = path
    if isinstance(part, Mapping):
        return {**part, key: _with_value(part[key], tuple(below), value) if below else value}
    inner = _with_value(getattr(part, key), tuple(below), value) if below else value
    return part.model_copy(update={key: inner})
