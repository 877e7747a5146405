"""MultiTaskModel: one encoder per stream, and one task with its heads per term.

Every distinct view is built once and passed through its encoder once, however many terms use it.
Shapes: B clip, V valid clip.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn

from evossl.export.encoder_folder import load_encoder
from evossl.models.ema import momentum_copy, update_ema
from evossl.models.encoder import Encoder, build_encoder
from evossl.rng import derive_seed
from evossl.task import Task, TaskBatch, Term, ViewOutput, zero_loss
from evossl.training.resolved_space import ResolvedSpace
from evossl.training.teacher import teacher_of
from evossl.training.view_plan import ViewPlan, plan_views
from evossl.types import ClipBatch, EncoderShape, Features, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, Role, View, ViewInput

MIN_VALID = 2  # valid samples; BatchNorm and every contrastive loss need two


@dataclass(frozen=True)
class BatchLosses:
    """The losses of one batch.

    Attributes:
        losses: each term's loss. A skipped term's loss is a zero that reaches its heads.
        batches: what each term's task was given; skipped terms have none.
        skipped: the terms with fewer than 2 valid samples in this batch.
    """

    losses: Mapping[str, Tensor]
    batches: Mapping[str, TaskBatch]
    skipped: frozenset[str]


@dataclass(frozen=True)
class _Views:
    """The views of one batch: their inputs, which samples are valid in them, and their features."""

    inputs: Mapping[View, ViewInput]
    valid: Mapping[View, Tensor]
    features: Mapping[View, Features | None]


class MultiTaskModel(nn.Module):
    """The encoders and heads that the given terms need, and no others.

    Initial weights depend on (seed, stream) and (seed, term) only, not on which terms are active.

    Args:
        resolved: the space with its active terms.
        seed: of the initial weights and of the views.
    """

    def __init__(self, resolved: ResolvedSpace, seed: int) -> None:
        super().__init__()
        self.space = space = resolved.space
        self.terms = terms = resolved.terms
        self.seed = seed
        self.settings = ViewSettings.for_training(space)
        needed = dict.fromkeys(s for term in terms for s in term.streams)
        streams = [s for s in Stream if s in needed or s is Stream.RGB]
        self.encoders = nn.ModuleDict({s: build_encoder(s, space.backbone, seed) for s in streams})
        shapes = {s: self._shape(s) for s in streams}
        built = {term.name: _build_task(term, shapes, resolved, seed) for term in terms}
        self.heads = nn.ModuleDict({_key(name): task for name, task in built.items()})
        self.plan: ViewPlan = plan_views(built, self.settings)
        averaged = {v.stream for v in self.plan.forwards if v.encoder is Role.MOMENTUM}
        self.momentum = nn.ModuleDict(
            {stream: momentum_copy(self.encoders[stream]) for stream in sorted(averaged)}
        )
        self._teachers = _load_teachers(self.plan)

    def _shape(self, stream: Stream) -> EncoderShape:
        view = View(stream, space=CLEAN)
        return self.encoder(stream).shape(input_shape(view, self.settings, self.space.cache.fps))

    def encoder(self, stream: Stream) -> Encoder:
        """Return the stream's encoder (the student)."""
        return cast(Encoder, self.encoders[stream])

    def task(self, term: str) -> Task:
        """Return the task of the named term, with its heads."""
        return cast(Task, self.heads[_key(term)])

    def losses(self, clips: ClipBatch, step: int, progress: float) -> BatchLosses:
        """Return the loss of every term on a batch.

        Args:
            clips: a batch on the model's device.
            step: number of the batch, counting accumulated batches. With the model's seed, it
                determines the random draws of the views and of the tasks.
            progress: completed fraction of the training, in [0, 1].
        """
        inputs = build_views(self.plan.inputs, clips, self.settings, seed=self.seed, step=step)
        valid = {view: built.valid_B.cpu() for view, built in inputs.items()}
        for term in self.terms:
            self.task(term.name).before_forward(progress)
        features = {
            v: self._forward(v, inputs[v.input_key], valid[v.input_key]) for v in self.plan.forwards
        }
        views = _Views(inputs, valid, features)
        losses, batches, skipped = {}, {}, set()
        for term in self.terms:
            task, name = self.task(term.name), term.name
            valid_B = torch.stack([valid[v.input_key] for v in self.plan.views[name].values()]).all(
                0
            )
            if int(valid_B.sum()) < MIN_VALID:
                losses[name] = zero_loss(task, clips.frames_BLHWC.device)
                skipped.add(name)
                continue
            index_V = valid_B.nonzero().squeeze(1).to(clips.video_id_B.device)
            batches[name] = TaskBatch(
                views=self._outputs(name, views, valid_B),
                video_id_B=clips.video_id_B[index_V],
                valid_B=valid_B,
                progress=progress,
                generator=Generator().manual_seed(derive_seed(self.seed, step, name)),
            )
            losses[name] = task.loss(batches[name])
        return BatchLosses(losses, batches, frozenset(skipped))

    def _forward(self, view: View, built: ViewInput, valid_B: Tensor) -> Features | None:
        """Features of the valid samples, or None if there are fewer than 2."""
        if int(valid_B.sum()) < MIN_VALID:
            return None
        pixels = built.pixels
        if not bool(valid_B.all()):
            pixels = pixels[valid_B.to(pixels.device)]
        if view.encoder is Role.STUDENT:
            with _autocast(pixels.device):
                return _float(self.encoders[view.stream](pixels))
        with torch.no_grad(), _autocast(pixels.device):
            if view.encoder is Role.MOMENTUM:
                return _float(self.momentum[view.stream](pixels))
            assert view.teacher is not None
            # Teachers are no submodules, so moving the model does not move them.
            teacher = self._teachers[view.teacher].to(pixels.device)
            return Features(teacher(pixels).float(), {})

    def _outputs(self, term: str, views: _Views, valid_B: Tensor) -> dict[str, ViewOutput]:
        """The term's views, restricted to the samples that are valid in all of them."""
        return {
            name: _restrict(
                views.inputs[view.input_key],
                views.features.get(view),
                views.valid[view.input_key],
                valid_B,
            )
            for name, view in self.plan.views[term].items()
        }

    @torch.no_grad()
    def update_task_states(self, batches: Mapping[str, TaskBatch]) -> None:
        """Let the tasks update their queues and centres with a batch whose losses were computed."""
        for term, batch in batches.items():
            self.task(term).after_step(batch)

    @torch.no_grad()
    def after_step(self, batches: Mapping[str, TaskBatch], decay: float) -> None:
        """Update the tasks' states with a step's last batch, then all momentum encoders and heads.

        In this order, queues and centres receive the momentum heads' outputs that the losses saw.
        """
        self.update_task_states(batches)
        pairs = [(self.encoders[stream], average) for stream, average in self.momentum.items()]
        pairs += [pair for term in self.terms for pair in self.task(term.name).momentum_heads]
        update_ema(pairs, decay)

    def trained(self) -> Iterator[nn.Parameter]:
        """Return the trained parameters: those of the encoders and heads."""
        return (p for p in self.parameters() if p.requires_grad)


def _restrict(
    built: ViewInput, features: Features | None, own_B: Tensor, joint_B: Tensor
) -> ViewOutput:
    """Return a view of the samples in `joint_B`; `features` hold only those in `own_B`."""
    if features is not None and not bool(joint_B[own_B].all()):
        features = features.rows(joint_B[own_B].to(features.embedding_BD.device))
    if bool(joint_B.all()):
        return ViewOutput(built.pixels, built.applied, features)
    index = joint_B.to(built.pixels.device)
    return ViewOutput(built.pixels[index], built.applied.rows(index), features)


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Bfloat16 on a GPU; float32 on a CPU, where results are reproducible to the bit."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _float(features: Features) -> Features:
    """Features in float32, in which all heads and losses compute."""
    maps = {stage: map_.float() for stage, map_ in features.maps.items()}
    return Features(features.embedding_BD.float(), maps)


def channels_last(model: nn.Module) -> None:
    """Convert the weights of 3-D convolutions to the memory layout that GPU tensor cores need.

    Most backbones are built in this layout already (`factorise_convolutions`, C3D); on a CPU the
    others, and the heads, keep the layout that they are built in.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)


def _build_task(
    term: Term, shapes: Mapping[Stream, EncoderShape], resolved: ResolvedSpace, seed: int
) -> Task:
    place = term.place.bind(shapes, teacher_of(term.task, resolved))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "head", term.name))
        return resolved.task_class(term)(place, **resolved.space.tasks[term.task].options)


def _load_teachers(plan: ViewPlan) -> dict[str, nn.Module]:
    folders = sorted({view.teacher for view in plan.forwards if view.teacher is not None})
    return {folder: load_encoder(folder).for_inference() for folder in folders}


def _key(term: str) -> str:
    """A term's name as a key of nn.ModuleDict, which allows no dots."""
    return term.replace(".", "/")
