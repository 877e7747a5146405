"""What a space fixes for all views: the clip's shape, and what the encoder must not tell apart."""

from dataclasses import dataclass

from evossl.config import SearchSpace


@dataclass(frozen=True)
class ViewSettings:
    """The part of a search space that views depend on.

    Attributes:
        frames: frames of a view whose `time.frames` is None.
        size: side in pixels of a view whose `space.size` is None.
        mel_bands: F of the log-mel of sound.
        ignores: words of `config.Ignore`; they decide what a strong view does.
    """

    frames: int
    size: int
    mel_bands: int
    ignores: tuple[str, ...]

    @classmethod
    def from_space(cls, space: SearchSpace) -> "ViewSettings":
        """Return the settings of a search space."""
        clip = space.clip
        return cls(clip.frames, clip.size, clip.mel_bands, space.ignores)
