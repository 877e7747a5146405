"""Knowledge distillation: match a larger or longer trained, frozen encoder on the same clip.

Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, NIPS 2014 workshop (arXiv
2015): the logits. Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015: the features.

An encoder trained without labels has no classes. Here a class is a random, fixed direction in the
space of the teacher's embedding, whose features are standardised over the batch; a clip's logit is
its projection on that direction. Many directions preserve the embedding (Johnson and
Lindenstrauss), and a low temperature emphasises the directions in which a clip stands out. RKD
(Park et al., CVPR 2019) and SEED (Fang et al., ICLR 2021) instead compare a clip with other clips
of the batch or of a queue, of which small batches have few.

On RGB, the stream of every exported encoder; the other streams can be distilled into RGB with
`distill`. The teacher is given by `teacher:` under the task in the space, or by --teacher.

Expected to learn: motion.
"""

import torch
from torch import Tensor, nn

from evossl.io.task_options import ClusterCount, PositiveFloat
from evossl.losses.distance import l2_normalise, mean_squared_error
from evossl.losses.distillation import distillation_loss
from evossl.losses.redundancy import standardise_features
from evossl.models.heads.mlp import projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Role, View


class KnowledgeDistillation(Task):
    """Two variants. `logits`: a linear layer predicts logits; `features`: an MLP the embedding.

    Teacher and student see the same pixels; a teacher of another crop would describe other content.

    Args:
        place: RGB, with a teacher; its variant is `logits` or `features`.
        temperature: divides the logits, whose standard deviation is about 1.
        num_classes: number of directions.
    """

    places = each(Stream.RGB)
    variants = ("logits", "features")
    needs_teacher = True

    def __init__(
        self, place: Place, temperature: PositiveFloat = 0.5, num_classes: ClusterCount = 256
    ) -> None:
        super().__init__(place)
        assert place.teacher is not None, "the caller provides the teacher"
        self.teacher = place.teacher
        self.temperature = temperature
        self.direction_KD: Tensor
        if place.variant == "logits":
            self.head: nn.Module = nn.Linear(place.width, num_classes)
            directions = l2_normalise(torch.randn(num_classes, self.teacher.width))
            self.register_buffer("direction_KD", directions)
        else:
            self.head = projection_head(place.width, self.teacher.width)

    def views(self) -> dict[str, View]:
        return {
            "student": View(self.place.stream, space=STRONG),
            "teacher": View(
                self.place.stream, space=STRONG, encoder=Role.TEACHER, teacher=self.teacher.folder
            ),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        prediction = self.head(batch["student"].embedding_BD)
        teacher_BD = standardise_features(batch["teacher"].embedding_BD.detach())
        if self.place.variant == "features":
            return mean_squared_error(prediction, teacher_BD)
        return distillation_loss(prediction, teacher_BD @ self.direction_KD.T, self.temperature)
