"""Settings of a search space that apply to all views: the shape of clips and `ignores`."""

from dataclasses import dataclass, field, replace

from evossl.config import Augmentation, SearchSpace


@dataclass(frozen=True)
class ViewSettings:
    """The part of a search space that views depend on.

    Attributes:
        frames: number of frames of a view whose `time.frames` is None.
        size: side in pixels of a view whose `space.size` is None.
        mel_bands: F, number of mel bands of sound.
        ignores: words of `config.Ignore`; they decide which augmentations a strong view applies.
        augmentation: how strongly it applies them.
    """

    frames: int
    size: int
    mel_bands: int
    ignores: tuple[str, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)

    @classmethod
    def from_space(cls, space: SearchSpace) -> "ViewSettings":
        """Return the settings of the views that the fitness scores: with default augmentation."""
        clip = space.clip
        return cls(clip.frames, clip.size, clip.mel_bands, space.ignores)

    @classmethod
    def for_training(cls, space: SearchSpace) -> "ViewSettings":
        """Return the settings of a training's views, with the augmentation of the space."""
        return replace(cls.from_space(space), augmentation=space.augmentation)
