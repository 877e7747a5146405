"""Clips whose pixels and sound reveal the time of each frame, and task batches made of them.

Shapes: B clip, L frame of a stretch, T frame of a view, C channel, H height, W width, S sample.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from evossl.task import Place, TaskBatch, Term, ViewOutput
from evossl.types import AUDIO_RATE, ClipBatch, Features, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import View
from tests.helpers import handmade_batches as hand

FPS = 12.0
SETTINGS = ViewSettings(
    frames=hand.FRAMES, size=hand.SIZE, mel_bands=hand.BANDS, ignores=("colour", "crop", "time")
)
MARGIN = 14  # pixels between the bar and the border, so that no crop of a weak view cuts the bar


def moving_bar(num: int = 24, length: int = 32, speed: int = 1) -> ClipBatch:
    """Return clips of a bar that moves right by `speed` pixels per frame; the noise gets louder."""
    side = 2 * MARGIN + 2 + speed * (length - 1)
    frames = torch.zeros(num, length, side, side, 3, dtype=torch.uint8)
    for t in range(length):
        frames[:, t, :, MARGIN + speed * t : MARGIN + speed * t + 2] = 255
    samples = round(length / FPS * AUDIO_RATE)
    noise = torch.randn(samples, generator=Generator().manual_seed(0))
    loudness = torch.logspace(-3, -1, samples)
    return ClipBatch(
        frames_BLHWC=frames,
        num_frames_B=torch.full((num,), length),
        size_B2=torch.full((num, 2), side),
        waveform_BS=(noise * loudness).clamp(-1, 1).expand(num, -1),
        has_audio_B=torch.ones(num, dtype=torch.bool),
        video_id_B=torch.arange(num),
        fps=FPS,
    )


def gliding_tone(clips: ClipBatch) -> ClipBatch:
    """Return the clips with a tone of constant loudness that rises from 100 Hz to 6.4 kHz."""
    second_S = torch.arange(clips.waveform_BS.shape[1], dtype=torch.float64) / AUDIO_RATE
    growth = math.log(64) / float(second_S[-1])
    tone_S = 0.5 * torch.sin(2 * math.pi * 100 / growth * torch.exp(growth * second_S))
    return replace(clips, waveform_BS=tone_S.float().expand(len(clips), -1))


def pitch(mel_F_T: Tensor) -> Tensor:
    """Return the mean mel band of the power of log-mels (..., F, T)."""
    share_F = (4 * mel_F_T.mean(dim=-1)).softmax(dim=-1)
    return share_F @ torch.arange(share_F.shape[-1], dtype=torch.float32)


def build_batch(
    views: Mapping[str, View],
    clips: ClipBatch,
    seed: int = 0,
    ignores: tuple[str, ...] = SETTINGS.ignores,
) -> TaskBatch:
    """Return a batch of views built from the clips, without features."""
    made = build_views(views.values(), clips, replace(SETTINGS, ignores=ignores), seed=seed, step=0)
    outputs = {
        name: ViewOutput(made[view.input_key].pixels, made[view.input_key].applied, None)
        for name, view in views.items()
    }
    assert all(made[view.input_key].valid_B.all() for view in views.values())
    everyone = torch.ones(len(clips), dtype=torch.bool)
    return TaskBatch(outputs, clips.video_id_B, everyone, 0.5, Generator().manual_seed(seed))


def with_embedding(batch: TaskBatch, name: str, embedding_BD: Tensor) -> TaskBatch:
    """Return the batch with this embedding of the view `name`."""
    views = dict(batch.views)
    views[name] = replace(views[name], features=Features(embedding_BD, {}))
    return replace(batch, views=views)


@torch.no_grad()
def return_first_feature(classifier: nn.Linear) -> None:
    """Set the weights of a classifier with one output to return the first feature."""
    classifier.weight.zero_()
    classifier.bias.zero_()
    classifier.weight[0, 0] = 1.0


def clock_BT(view: ViewOutput, stream: Stream) -> Tensor:
    """Return a number per step that grows with time: the bar's position or the loudness."""
    if stream is Stream.AUDIO:
        loudness_BT = view.pixels.mean(dim=(1, 2, 3))
        return torch.stack([part.mean(dim=1) for part in loudness_BT.chunk(4, dim=1)], dim=1)
    light_BTW = view.pixels.mean(dim=(1, 3))
    light_BTW = light_BTW - light_BTW.amin(dim=-1, keepdim=True)
    x_W = torch.arange(light_BTW.shape[-1], dtype=torch.float32)
    return (light_BTW * x_W).sum(dim=-1) / light_BTW.sum(dim=-1)


def build(name: str, *streams: Stream, directed: bool = False) -> hand.Case:
    """Return a task at a place."""
    return hand.build(Term(name, Place(streams, directed)))
