"""Labelled videos: labels, groups and folds are checked before hours of decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from evossl.cli.data import make_index, print_set_aside
from evossl.cli.options import DataOptions
from evossl.cli.progress import progress_bar
from evossl.data.cache.clip_cache import default_cache_folder
from evossl.data.index.index import Video
from evossl.data.index.sources import scan
from evossl.data.loader import ClipLoader
from evossl.evaluation.features import open_clips
from evossl.evaluation.labels import LabelledVideos, labelled_videos, read_split
from evossl.evaluation.splits import Fold, make_folds
from evossl.export.encoder_folder import EncoderConfig

DEFAULT_FOLDS = 5

labelled_data_option = click.option(
    "--data",
    required=True,
    metavar="LABELLED",
    help="Labelled videos: a folder with one subfolder per class, or a manifest with labels.",
)
label_option = click.option(
    "--label",
    metavar="COLUMN",
    default="label",
    show_default=True,
    help="Column of the manifest that holds the labels.",
)
folds_option = click.option(
    "--folds",
    type=click.IntRange(2),
    metavar="N",
    default=DEFAULT_FOLDS,
    show_default=True,
    help="Number of folds of the cross-validation.",
)


@dataclass(frozen=True, kw_only=True)
class LabelledOptions(DataOptions):
    """The options that all verbs on labelled videos share."""

    label: str = "label"
    seed: int = 0


@dataclass(frozen=True)
class SplitConfig:
    """How labelled videos are split into training and test sets.

    Attributes:
        num_folds: number of folds, where there is no table.
        table: a file that prescribes the split, or None.
        seed: seed of the folds.
    """

    num_folds: int = DEFAULT_FOLDS
    table: str | None = None
    seed: int = 0

    def split(
        self, paths: Sequence[str], labels: Sequence[str | None], groups: Sequence[str]
    ) -> tuple[LabelledVideos, list[Fold]]:
        """Return the labelled videos and their folds.

        Raises:
            UserError: fewer than two classes, a class with fewer groups than folds, or a table that
                does not fit the videos.
        """
        videos = labelled_videos(labels, groups)
        if self.table:
            return read_split(self.table, paths, videos)
        return videos, make_folds(videos.labels, videos.groups, self.num_folds, self.seed)


@dataclass(frozen=True)
class LabelledClips:
    """Decoded labelled videos; the rows of `clips` are the readable `videos`."""

    clips: ClipLoader
    videos: Sequence[Video]
    labels: Sequence[str | None]

    @property
    def paths(self) -> list[str]:
        """Path of each video."""
        return [video.path for video in self.videos]

    @property
    def groups(self) -> list[str]:
        """Group of each video; a split keeps groups together."""
        return [video.group for video in self.videos]


def open_labelled(
    options: LabelledOptions, config: EncoderConfig, split: SplitConfig | None = None
) -> LabelledClips:
    """Index, check and decode labelled videos, with progress bars.

    Args:
        options: where the videos and their labels are.
        config: of the encoder, which determines the size and rate of the clips.
        split: a split that must be possible, or None.

    Raises:
        UserError: no such label column, fewer than two classes, or an impossible split.
    """
    found = make_index(options.data, None, options.workers)
    labels = found.labels(options.label)
    paths, groups = [v.path for v in found.videos], [v.group for v in found.videos]
    if split:
        split.split(paths, labels, groups)
    else:
        labelled_videos(labels, groups)
    cache: Path = options.cache or default_cache_folder()
    with progress_bar("decoding") as progress:
        clips, report = open_clips(
            found.videos, config, cache, seed=options.seed, progress=progress
        )
    print_set_aside(report.failed)
    label_of = dict(zip(paths, labels, strict=True))
    return LabelledClips(clips, report.readable, [label_of[v.path] for v in report.readable])


def check_labelled(source: str) -> None:
    """Refuse, before a search, labelled videos that could not be used to evaluate its winner.

    Raises:
        UserError: no videos, no labels, or a class with fewer groups than folds.
    """
    files = scan(source)
    paths = [file.path for file in files]
    groups = [file.group or file.path for file in files]
    SplitConfig().split(paths, [file.label for file in files], groups)
