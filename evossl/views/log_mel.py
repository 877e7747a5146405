"""Log-mel of the seconds that a view's frames last, with columns that stand in step with them.

Each frame of the cache has the same whole number of columns, about 10 ms apart, so that segments of
frames are segments of columns. A stride of n frames averages the power of n columns.

Shapes: B clip, S audio sample, J column at stride 1, T column of the view, F mel band, K sample of
a window, Q frequency.
"""

from functools import cache

import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from evossl.types import AUDIO_RATE
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import TimePlan, frame_order

COLUMNS_PER_SECOND = 100  # a hop of about 10 ms, as in speech and in VGGish
WINDOW = 400  # samples: 25 ms
N_FFT = 512
LOWEST, HIGHEST = 60.0, 7800.0  # Hz, VGGish's 125 to 7500 widened to what 16 kHz holds
FLOOR = 1e-6  # power: quieter than a 16-bit recording's own noise
# Mean and standard deviation of log(power + FLOOR), measured over 16 real clips with sound; fixed,
# so that a view does not depend on its batch.
LOG_MEL_MEAN, LOG_MEL_SD = -1.0, 4.4
GAIN_DECIBELS = 6.0  # of noise-ignoring views: up to half or double the amplitude
NOISE_DECIBELS = (-40.0, -10.0)  # of their additive noise, relative to the clip's own power
NOISE_SHIFT = 1009


def columns_per_frame(fps: float) -> int:
    """Return the log-mel columns that one frame of the cache lasts."""
    return max(1, round(COLUMNS_PER_SECOND / fps))


def log_mel(waveform_BS: Tensor, plan: TimePlan, fps: float, mel_bands: int) -> Tensor:
    """Return standardised log-mel (B, 1, 1, F, T) of the plan's seconds, in the plan's order.

    Args:
        waveform_BS: float32 at `AUDIO_RATE`, from the same time as the stretch's first frame.
        plan: which frames; the sound of frames a to b is that from a / fps to b / fps seconds.
        fps: frames a second of the stretch.
        mel_bands: F.
    """
    per_frame = columns_per_frame(fps)
    columns = plan.extent * per_frame
    power_BJF = _mel_power(waveform_BS, plan, fps, mel_bands, columns * plan.longest_stride)
    power_BTF = _mean_of_groups(power_BJF, plan.stride_B, columns, plan.longest_stride)
    mel_BTF = (torch.log(power_BTF + FLOOR) - LOG_MEL_MEAN) / LOG_MEL_SD
    order_BT = frame_order(plan.frames * per_frame, plan.reversed_B, plan.permutation_BN)
    order_BT = plan.spread(order_BT, per_frame)
    mel_BTF = mel_BTF.gather(1, order_BT[:, :, None].expand(-1, -1, mel_bands))
    return mel_BTF.transpose(1, 2)[:, None, None].contiguous()


def _mel_power(
    waveform_BS: Tensor, plan: TimePlan, fps: float, mel_bands: int, columns: int
) -> Tensor:
    """Return mel power (B, J, F); samples outside the plan's seconds count as silence."""
    device, length = waveform_BS.device, waveform_BS.shape[1]
    samples_per_frame = AUDIO_RATE / fps
    hop = samples_per_frame / columns_per_frame(fps)
    first_frame_B = plan.start_B + plan.offset * plan.stride_B
    begin_B = first_frame_B * samples_per_frame
    end_B = (first_frame_B + plan.extent * plan.stride_B) * samples_per_frame
    middle_J = (torch.arange(columns, device=device) + 0.5) * hop
    middle_BJ = (begin_B[:, None] + middle_J).round().long()
    index_BJK = middle_BJ[:, :, None] + torch.arange(-WINDOW // 2, WINDOW // 2, device=device)
    inside_BJK = (index_BJK >= begin_B.round()[:, None, None]) & (
        index_BJK < end_B.round().clamp(max=length)[:, None, None]
    )
    flat = index_BJK.clamp(0, length - 1).view(len(waveform_BS), -1)
    piece_BJK = waveform_BS.gather(1, flat).view(index_BJK.shape) * inside_BJK
    window_K = torch.hann_window(WINDOW, device=device)
    spectrum_BJQ = torch.fft.rfft(piece_BJK * window_K, n=N_FFT)
    power_BJQ = spectrum_BJQ.real.square() + spectrum_BJQ.imag.square()
    mel_BJF: Tensor = power_BJQ @ _filters(mel_bands).to(device)
    return mel_BJF


@cache
def _filters(mel_bands: int) -> Tensor:
    """Triangular mel filters (Q, F)."""
    filters: Tensor = melscale_fbanks(N_FFT // 2 + 1, LOWEST, HIGHEST, mel_bands, AUDIO_RATE)
    return filters


def _mean_of_groups(power_BJF: Tensor, stride_B: Tensor, columns: int, longest: int) -> Tensor:
    """Return (B, T, F): column t is the mean of columns t * stride to (t + 1) * stride - 1."""
    if longest == 1:
        return power_BJF
    device, bands = power_BJF.device, power_BJF.shape[2]
    member_S = torch.arange(longest, device=device)
    used_B1S = (member_S < stride_B[:, None])[:, None]
    index_BTS = torch.arange(columns, device=device)[:, None] * stride_B[:, None, None] + member_S
    flat = index_BTS.clamp(max=power_BJF.shape[1] - 1).view(len(stride_B), -1, 1)
    group = power_BJF.gather(1, flat.expand(-1, -1, bands)).view(*index_BTS.shape, bands)
    return (group * used_B1S[..., None]).sum(dim=2) / stride_B[:, None, None]


def disturb(waveform_BS: Tensor, draws: StepRNG, draw: int) -> Tensor:
    """Return the waveform with a gain and white noise of each sample's own strength."""
    batch, length = waveform_BS.shape
    gain_B = draws.uniform(draw, "gain", batch, low=-GAIN_DECIBELS, high=GAIN_DECIBELS)
    low, high = NOISE_DECIBELS
    noise_B = draws.uniform(draw, "sound noise level", batch, low=low, high=high)
    level_B = waveform_BS.square().mean(dim=1).sqrt() * 10 ** (noise_B / 20)
    long = draws.normal(draw, "sound noise", length + (batch - 1) * NOISE_SHIFT)
    noise_BS = long.unfold(0, length, NOISE_SHIFT)
    return (waveform_BS + level_B[:, None] * noise_BS) * 10 ** (gain_B / 20)[:, None]
