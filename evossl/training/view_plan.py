"""ViewPlan: which inputs are made and which forwards run, once a trial."""

from collections.abc import Mapping
from dataclasses import dataclass

from evossl.task import Task
from evossl.types import Stream
from evossl.views.settings import ViewSettings
from evossl.views.spec import Role, View
from evossl.views.temporal_sampling import resolve_strides


@dataclass(frozen=True)
class ViewPlan:
    """What the active terms ask for, with equal recipes counted once.

    Attributes:
        asked: by term, then by the task's own name for it, the view.
        forwards: the distinct views that an encoder sees.
        inputs: the distinct recipes of pixels.
    """

    asked: Mapping[str, Mapping[str, View]]
    forwards: tuple[View, ...]
    inputs: tuple[View, ...]

    def trained(self, term: str) -> frozenset[Stream]:
        """The streams whose encoders the term sees as a student."""
        views = self.asked[term].values()
        return frozenset(view.stream for view in views if view.encoder is Role.STUDENT)


def views_of(task: Task, settings: ViewSettings) -> dict[str, View]:
    """Return the task's views by its own names, as the space settles them."""
    return {name: resolve_strides(view, settings) for name, view in task.views().items()}


def plan_views(tasks: Mapping[str, Task], settings: ViewSettings) -> ViewPlan:
    """Return the plan of the tasks' views, by term, as the space settles them."""
    asked = {term: views_of(task, settings) for term, task in tasks.items()}
    distinct = dict.fromkeys(view for views in asked.values() for view in views.values())
    return ViewPlan(
        asked=asked,
        forwards=tuple(view for view in distinct if view.encoder is not Role.NONE),
        inputs=tuple(dict.fromkeys(view.pixels for view in distinct)),
    )
