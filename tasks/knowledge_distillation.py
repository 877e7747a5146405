"""Knowledge distillation: what a frozen encoder, larger or longer trained, says of the same clip.

Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, NIPS 2014 workshop (arXiv
2015): the logits. Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015: the features.

An encoder trained without labels has no classes. Here a class is a direction in the space of the
teacher's embedding, each of its features standardised over the batch: drawn once, at random, never
trained; a clip's logit is how far it lies in that direction. Many directions hold all that the
embedding does (Johnson and Lindenstrauss), yet a low temperature asks first for where a clip stands
out. RKD (Park et al., CVPR 2019) and SEED (Fang et al., ICLR 2021) compare with other clips
instead, of the batch or of a queue: small batches have few of them.

On RGB, as every exported encoder is; the other streams reach it by `distill`. The teacher is
`teacher:` under the task in the space, or --teacher.

Should learn: motion.
"""

import torch
from torch import Tensor, nn

from evossl.io.task_options import Classes, Positive
from evossl.losses.distance import squared_error, unit
from evossl.losses.distillation import soft_targets
from evossl.losses.redundancy import standardised
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Role, View


class KnowledgeDistillation(Task):
    """Two terms. `logits`: a linear layer gives the teacher's; `features`: an MLP its embedding.

    Both see the same pixels: a teacher shown another crop would be right about something else.

    Args:
        place: RGB, with a teacher; its variant is the term.
        temperature: of the logits, whose spread is about 1.
        classes: how many directions.
    """

    places = each(Stream.RGB)
    variants = ("logits", "features")
    needs_teacher = True

    def __init__(self, place: Place, temperature: Positive = 0.5, classes: Classes = 256) -> None:
        super().__init__(place)
        assert place.teacher is not None, "checked by whoever builds the task"
        self.teacher = place.teacher
        self.temperature = temperature
        self.direction_KD: Tensor
        if place.variant == "logits":
            self.head: nn.Module = nn.Linear(place.width, classes)
            directions = unit(torch.randn(classes, self.teacher.width))
            self.register_buffer("direction_KD", directions)
        else:
            self.head = mlp([place.width, place.width, self.teacher.width])

    def views(self) -> dict[str, View]:
        return {
            "student": View(self.place.stream, space=STRONG),
            "teacher": View(
                self.place.stream, space=STRONG, encoder=Role.TEACHER, teacher=self.teacher.folder
            ),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        given = self.head(seen["student"].embedding_BD)
        taught_BD = standardised(seen["teacher"].embedding_BD.detach())
        if self.place.variant == "features":
            return squared_error(given, taught_BD)
        return soft_targets(given, taught_BD @ self.direction_KD.T, self.temperature)
