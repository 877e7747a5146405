"""ViewPlan: the distinct inputs and forward passes of a training step, planned once per trial."""

from collections.abc import Mapping
from dataclasses import dataclass

from evossl.task import Task
from evossl.types import Stream
from evossl.views.settings import ViewSettings
from evossl.views.spec import Role, View
from evossl.views.temporal_sampling import resolve_strides


@dataclass(frozen=True)
class ViewPlan:
    """The views of all active terms, without duplicates.

    Attributes:
        views: the views of each term, by the names that its task gives them.
        forwards: the distinct views that go through an encoder.
        inputs: the distinct pixel recipes.
    """

    views: Mapping[str, Mapping[str, View]]
    forwards: tuple[View, ...]
    inputs: tuple[View, ...]

    def student_streams(self, term: str) -> frozenset[Stream]:
        """Return the streams whose encoders the term trains."""
        views = self.views[term].values()
        return frozenset(view.stream for view in views if view.encoder is Role.STUDENT)


def views_of(task: Task, settings: ViewSettings) -> dict[str, View]:
    """Return the task's views by its own names, with strides resolved for the space."""
    return {name: resolve_strides(view, settings) for name, view in task.views().items()}


def plan_views(tasks: Mapping[str, Task], settings: ViewSettings) -> ViewPlan:
    """Return the plan for the given tasks, which are keyed by their terms' names."""
    views = {term: views_of(task, settings) for term, task in tasks.items()}
    distinct = dict.fromkeys(view for own in views.values() for view in own.values())
    return ViewPlan(
        views=views,
        forwards=tuple(view for view in distinct if view.encoder is not Role.NONE),
        inputs=tuple(dict.fromkeys(view.input_key for view in distinct)),
    )
