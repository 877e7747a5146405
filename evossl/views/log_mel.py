"""Log-mel spectrograms of the seconds that a view's frames cover, aligned with those frames.

Each frame of the cache has the same whole number of columns, about 10 ms apart, so that segments of
frames are segments of columns. At a stride of n frames, the power of n columns is averaged.

Shapes: B clip, S audio sample, J column at stride 1, T column of the view, F mel band, K sample of
an analysis window, Q frequency.
"""

from functools import cache

import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from evossl.types import AUDIO_RATE
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import TimePlan, frame_order

COLUMNS_PER_SECOND = 100  # one column per 10 ms, as in speech recognition and in VGGish
WINDOW_SAMPLES = 400  # 25 ms
N_FFT = 512
MIN_HZ, MAX_HZ = 60.0, 7800.0  # VGGish's 125 to 7500, widened to what 16 kHz can represent
POWER_FLOOR = 1e-6  # added before the logarithm; below the noise of a 16-bit recording
# Mean and standard deviation of log(power + POWER_FLOOR), measured over 16 real clips with sound.
# They are constants, so that a view does not depend on its batch.
LOG_MEL_MEAN, LOG_MEL_SD = -1.0, 4.4
MAX_GAIN_DB = 6.0  # of augmented sound: between half and double the amplitude
NOISE_DB = (-40.0, -10.0)  # power of the noise in augmented sound, relative to the clip's own power


def columns_per_frame(fps: float) -> int:
    """Return the number of log-mel columns that one frame of the cache lasts."""
    return max(1, round(COLUMNS_PER_SECOND / fps))


def log_mel(waveform_BS: Tensor, plan: TimePlan, fps: float, mel_bands: int) -> Tensor:
    """Return the standardised log-mel (B, 1, 1, F, T) of the plan's frames, in the plan's order.

    Args:
        waveform_BS: float32 at `AUDIO_RATE`; it starts with the first frame of the stretch.
        plan: which frames. The sound of frames a to b is that of the seconds a / fps to b / fps.
        fps: frames per second of the stretch.
        mel_bands: F.
    """
    per_frame = columns_per_frame(fps)
    columns = plan.num_steps * per_frame
    power_BJF = _mel_power(waveform_BS, plan, fps, mel_bands, columns * plan.longest_stride)
    power_BTF = _average_over_stride(power_BJF, plan.stride_B, columns, plan.longest_stride)
    mel_BTF = (torch.log(power_BTF + POWER_FLOOR) - LOG_MEL_MEAN) / LOG_MEL_SD
    order_BT = frame_order(plan.frames * per_frame, plan.reversed_B, plan.permutation_BN)
    order_BT = plan.steps_of(order_BT, per_frame)
    mel_BTF = mel_BTF.gather(1, order_BT[:, :, None].expand(-1, -1, mel_bands))
    return mel_BTF.transpose(1, 2)[:, None, None].contiguous()


def _mel_power(
    waveform_BS: Tensor, plan: TimePlan, fps: float, mel_bands: int, columns: int
) -> Tensor:
    """Return mel power (B, J, F); samples outside the seconds of the plan count as silence."""
    device, length = waveform_BS.device, waveform_BS.shape[1]
    samples_per_frame = AUDIO_RATE / fps
    hop = samples_per_frame / columns_per_frame(fps)
    first_frame_B = plan.start_B + plan.offset * plan.stride_B
    begin_B = first_frame_B * samples_per_frame
    end_B = (first_frame_B + plan.num_steps * plan.stride_B) * samples_per_frame
    middle_J = (torch.arange(columns, device=device) + 0.5) * hop
    middle_BJ = (begin_B[:, None] + middle_J).round().long()
    window_K = torch.arange(-WINDOW_SAMPLES // 2, WINDOW_SAMPLES // 2, device=device)
    index_BJK = middle_BJ[:, :, None] + window_K
    is_inside_BJK = (index_BJK >= begin_B.round()[:, None, None]) & (
        index_BJK < end_B.round().clamp(max=length)[:, None, None]
    )
    flat = index_BJK.clamp(0, length - 1).view(len(waveform_BS), -1)
    samples_BJK = waveform_BS.gather(1, flat).view(index_BJK.shape) * is_inside_BJK
    hann_K = torch.hann_window(WINDOW_SAMPLES, device=device)
    spectrum_BJQ = torch.fft.rfft(samples_BJK * hann_K, n=N_FFT)
    power_BJQ = spectrum_BJQ.real.square() + spectrum_BJQ.imag.square()
    mel_BJF: Tensor = power_BJQ @ _mel_filters(mel_bands).to(device)
    return mel_BJF


@cache
def _mel_filters(mel_bands: int) -> Tensor:
    """Return triangular mel filters (Q, F)."""
    filters: Tensor = melscale_fbanks(N_FFT // 2 + 1, MIN_HZ, MAX_HZ, mel_bands, AUDIO_RATE)
    return filters


def _average_over_stride(
    power_BJF: Tensor, stride_B: Tensor, columns: int, longest_stride: int
) -> Tensor:
    """Return (B, T, F): column t is the mean of columns t * stride to (t + 1) * stride - 1."""
    if longest_stride == 1:
        return power_BJF
    device, bands = power_BJF.device, power_BJF.shape[2]
    member_S = torch.arange(longest_stride, device=device)
    is_used_B1S = (member_S < stride_B[:, None])[:, None]
    index_BTS = torch.arange(columns, device=device)[:, None] * stride_B[:, None, None] + member_S
    flat = index_BTS.clamp(max=power_BJF.shape[1] - 1).view(len(stride_B), -1, 1)
    group = power_BJF.gather(1, flat.expand(-1, -1, bands)).view(*index_BTS.shape, bands)
    return (group * is_used_B1S[..., None]).sum(dim=2) / stride_B[:, None, None]


def augment_waveform(waveform_BS: Tensor, rng: StepRNG, draw: int, strength: float = 1.0) -> Tensor:
    """Return the waveform with a random gain and random white noise for each sample.

    `strength` multiplies the gain in dB and the amplitude of the noise.
    """
    batch, length = waveform_BS.shape
    gain_B = rng.uniform(draw, "gain", batch, low=-MAX_GAIN_DB, high=MAX_GAIN_DB)
    low, high = NOISE_DB
    noise_B = rng.uniform(draw, "sound noise level", batch, low=low, high=high)
    level_B = strength * waveform_BS.square().mean(dim=1).sqrt() * 10 ** (noise_B / 20)
    noise_BS = rng.overlapping_noise(draw, "sound noise", batch, length)
    return (waveform_BS + level_B[:, None] * noise_BS) * 10 ** (strength * gain_B / 20)[:, None]
