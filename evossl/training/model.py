"""MultiTaskModel: one encoder a stream, one head set a term, every view made and seen once.

Shapes: B clip, V valid clip.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn

from evossl.config import SearchSpace
from evossl.export.encoder_folder import load_encoder
from evossl.models.ema import ema_update, make_momentum
from evossl.models.encoder import Encoder, build_encoder
from evossl.rng import derive_seed
from evossl.task import Task, TaskBatch, Term, ViewOutput, zero_loss
from evossl.training.teacher import teacher_of
from evossl.training.view_plan import ViewPlan, plan_views
from evossl.types import ClipBatch, EncoderShape, Features, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, Role, View, ViewInput

MIN_VALID = 2  # BatchNorm and every contrast need two samples


@dataclass(frozen=True)
class StepLosses:
    """What one batch gives: each term's loss, what it was shown, and which terms saw too little.

    `skipped` terms had fewer than 2 valid samples; their loss is a zero that reaches their heads.
    """

    losses: Mapping[str, Tensor]
    seen: Mapping[str, TaskBatch]
    skipped: frozenset[str]


class MultiTaskModel(nn.Module):
    """The encoders and heads that the given terms need, and no others.

    Initial weights are a function of (seed, stream) and (seed, term): the same whatever else is on.

    Args:
        terms: the active ones.
        tasks: the catalogue.
        space: streams, backbone, clip, ignores.
        seed: of weights and of views.
    """

    def __init__(
        self,
        terms: tuple[Term, ...],
        tasks: Mapping[str, type[Task]],
        space: SearchSpace,
        seed: int,
    ) -> None:
        super().__init__()
        self.terms = terms
        self.seed = seed
        self.settings = ViewSettings.of(space)
        needed = dict.fromkeys(s for term in terms for s in term.streams)
        streams = [s for s in Stream if s in needed or s is Stream.RGB]
        self.encoders = nn.ModuleDict({s: build_encoder(s, space.backbone, seed) for s in streams})
        shapes = {s: self._shape(s, space.cache.fps) for s in streams}
        built = {t.name: _build_task(tasks[t.task], t, shapes, space, seed) for t in terms}
        self.heads = nn.ModuleDict({_key(name): task for name, task in built.items()})
        self.plan: ViewPlan = plan_views(built, self.settings)
        followed = {v.stream for v in self.plan.forwards if v.encoder is Role.MOMENTUM}
        self.momentum = nn.ModuleDict(
            {stream: make_momentum(self.encoders[stream]) for stream in sorted(followed)}
        )
        self._teachers = _load_teachers(self.plan)

    def _shape(self, stream: Stream, fps: float) -> EncoderShape:
        shape = input_shape(View(stream, space=CLEAN), self.settings, fps)
        return self.encoder(stream).shape(shape)

    def encoder(self, stream: Stream) -> Encoder:
        """The stream's own encoder."""
        return cast(Encoder, self.encoders[stream])

    def task(self, name: str) -> Task:
        """The task (and heads) of a term."""
        return cast(Task, self.heads[_key(name)])

    def losses(self, clips: ClipBatch, step: int, progress: float) -> StepLosses:
        """Make every distinct input once, run every distinct forward once, grade all terms.

        Args:
            clips: a batch on the model's device.
            step: keys the views' randomness and the tasks' generators, with the seed.
            progress: share of the training done, in [0, 1].
        """
        made = build_views(self.plan.inputs, clips, self.settings, seed=self.seed, step=step)
        valid = {view: m.valid_B.cpu() for view, m in made.items()}
        for term in self.terms:
            self.task(term.name).before_forward(progress)
        features = {
            v: self._forward(v, made[v.pixels], valid[v.pixels]) for v in self.plan.forwards
        }
        losses, seen, skipped = {}, {}, set()
        for term in self.terms:
            task = self.task(term.name)
            shown = self._show(term.name, made, valid, features, clips, step, progress)
            if shown is None:
                losses[term.name] = zero_loss(task, clips.frames_BLHWC.device)
                skipped.add(term.name)
            else:
                losses[term.name] = task.loss(shown)
                seen[term.name] = shown
        return StepLosses(losses, seen, frozenset(skipped))

    def _forward(self, view: View, made: ViewInput, valid_B: Tensor) -> Features | None:
        """Features of the valid samples, or None if there are too few."""
        if int(valid_B.sum()) < MIN_VALID:
            return None
        pixels = made.pixels if bool(valid_B.all()) else made.pixels[valid_B.to(made.pixels.device)]
        if view.encoder is Role.STUDENT:
            with _autocast(pixels.device):
                return _float(self.encoders[view.stream](pixels))
        with torch.no_grad(), _autocast(pixels.device):
            if view.encoder is Role.MOMENTUM:
                return _float(self.momentum[view.stream](pixels))
            assert view.teacher is not None
            teacher = self._teachers[view.teacher].to(pixels.device)  # no submodule, does not move
            return Features(teacher(pixels).float(), {})

    def _show(
        self,
        name: str,
        made: Mapping[View, ViewInput],
        valid: Mapping[View, Tensor],
        features: Mapping[View, Features | None],
        clips: ClipBatch,
        step: int,
        progress: float,
    ) -> TaskBatch | None:
        """What a term's task sees: the samples that are valid in all of its views."""
        asked = self.plan.asked[name]
        valid_B = torch.stack([valid[view.pixels] for view in asked.values()]).all(dim=0)
        if int(valid_B.sum()) < MIN_VALID:
            return None
        views = {
            key: _rows(made[view.pixels], features.get(view), valid[view.pixels], valid_B)
            for key, view in asked.items()
        }
        generator = Generator().manual_seed(derive_seed(self.seed, step, name))
        index_V = valid_B.nonzero().squeeze(1).to(clips.video_id_B.device)
        return TaskBatch(views, clips.video_id_B[index_V], valid_B, progress, generator)

    @torch.no_grad()
    def remember(self, seen: Mapping[str, TaskBatch]) -> None:
        """Let the tasks update their state with what a batch's losses were graded by."""
        for name, shown in seen.items():
            self.task(name).after_step(shown)

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, TaskBatch], decay: float) -> None:
        """Remember a step's last batch, then let the momentum encoders and heads follow.

        In this order, queues and centres get what the momentum heads gave in the step's losses.
        """
        self.remember(seen)
        pairs = [(self.encoders[stream], slow) for stream, slow in self.momentum.items()]
        pairs += [pair for term in self.terms for pair in self.task(term.name).followers]
        ema_update(pairs, decay)

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that are trained: encoders and heads."""
        return (p for p in self.parameters() if p.requires_grad)


def _rows(made: ViewInput, features: Features | None, own_B: Tensor, joint_B: Tensor) -> ViewOutput:
    """One view of the jointly valid samples; features hold only the view's own valid ones."""
    if features is not None and not bool(joint_B[own_B].all()):
        features = features.rows(joint_B[own_B].to(features.embedding_BD.device))
    if bool(joint_B.all()):
        return ViewOutput(made.pixels, made.applied, features)
    index = joint_B.to(made.pixels.device)
    return ViewOutput(made.pixels[index], made.applied.rows(index), features)


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Bfloat16 on a GPU; the CPU stays in float32, where bits are reproducible."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _float(features: Features) -> Features:
    """Heads and losses are in float32, whatever autocast did to the encoder."""
    maps = {stage: map_.float() for stage, map_ in features.maps.items()}
    return Features(features.embedding_BD.float(), maps)


def channels_last(model: nn.Module) -> None:
    """Lay the weights of 3-D convolutions out as a GPU's tensor cores want them.

    On a CPU R(2+1)D-50 of stem width 16 takes 1.4 times as long so; C3D gains, and is built so.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)


def _build_task(
    task: type[Task],
    term: Term,
    shapes: Mapping[Stream, EncoderShape],
    space: SearchSpace,
    seed: int,
) -> Task:
    place = term.place.bind(shapes, teacher_of(term.task, task, space))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "head", term.name))
        return task(place, **space.tasks[term.task].options)


def _load_teachers(plan: ViewPlan) -> dict[str, nn.Module]:
    folders = sorted({view.teacher for view in plan.forwards if view.teacher is not None})
    return {folder: load_encoder(folder).requires_grad_(False) for folder in folders}


def _key(term: str) -> str:
    """A term's name as a key of nn.ModuleDict, which takes no dots."""
    return term.replace(".", "/")
