"""The sound of a synthetic video: beats in step with the motion, in the timbre of `Scene.sound`.

A beat sounds at every quarter of the motion's cycle, the first of four an octave higher: when the
shape crosses the border, is upright, is largest or smallest, or turns back. Sound and picture can
therefore be aligned; the timbre is independent of motion and appearance.

Shapes: S audio sample.
"""

import math

import numpy as np
from numpy.typing import NDArray

from evossl.data.synth.scene import BEATS_PER_CYCLE, Scene
from evossl.types import AUDIO_RATE

PITCHES_HZ = (220.0, 330.0, 523.0, 784.0)
HARMONICS = ((1.0,), (1.0, 0.0, 0.33, 0.0, 0.2), (1.0, 0.5, 0.33, 0.25), (1.0, 0.0, 0.0, 0.5))
DECAY_SECONDS = 0.05
ATTACK_SECONDS = 0.003
BURST_SECONDS = 0.25


def beat_times(scene: Scene, seconds: float) -> NDArray[np.float64]:
    """Return when beats begin, in seconds, from one burst before the video to its end."""
    step = scene.cycle_seconds / BEATS_PER_CYCLE
    first = math.ceil((scene.start - BURST_SECONDS / scene.cycle_seconds) * BEATS_PER_CYCLE)
    offset = (first / BEATS_PER_CYCLE - scene.start) * scene.cycle_seconds
    return np.arange(offset, seconds, step)


def render_sound(scene: Scene, seconds: float) -> NDArray[np.float32]:
    """Return waveform_S in [-1, 1] at `AUDIO_RATE`."""
    rng = np.random.default_rng([*scene.noise_seed, 2])
    num_samples = round(seconds * AUDIO_RATE)
    waveform_S = rng.normal(0.0, 0.003, num_samples)
    pitch = PITCHES_HZ[scene.sound] * (1 + rng.uniform(-0.03, 0.03))
    loudness = rng.uniform(0.4, 0.7)
    bursts = [loudness * _burst(scene.sound, hertz) for hertz in (2 * pitch, pitch)]
    times = beat_times(scene, seconds)
    quarters = np.rint(scene.phase(times) * BEATS_PER_CYCLE).astype(int)
    for time, quarter in zip(times.tolist(), quarters.tolist(), strict=True):
        burst = bursts[0 if quarter % BEATS_PER_CYCLE == 0 else 1]
        at = round(time * AUDIO_RATE)
        begin, end = max(0, at), min(num_samples, at + len(burst))
        waveform_S[begin:end] += burst[begin - at : end - at]
    return np.clip(waveform_S, -1, 1).astype(np.float32)


def _burst(sound: int, hertz: float) -> NDArray[np.float64]:
    time = np.arange(round(BURST_SECONDS * AUDIO_RATE)) / AUDIO_RATE
    weights = np.array(HARMONICS[sound])
    order = np.arange(1, len(weights) + 1)
    wave = weights @ np.sin(2 * math.pi * hertz * order[:, None] * time)
    envelope = np.minimum(time / ATTACK_SECONDS, 1) * np.exp(-time / DECAY_SECONDS)
    return np.asarray(wave * envelope / weights.sum(), np.float64)
