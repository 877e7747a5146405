"""Labelled videos: their labels, groups and folds are checked before hours of decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evossl.cli.data import make_index, say_set_aside
from evossl.cli.progress import bar
from evossl.data.cache.clip_cache import default_cache_folder
from evossl.data.index.index import Video
from evossl.data.index.sources import scan
from evossl.data.loader import ClipLoader
from evossl.evaluation.features import open_clips
from evossl.evaluation.labels import Labelled, labelled, split_from
from evossl.evaluation.splits import Fold, folds
from evossl.export.encoder_folder import EncoderConfig


@dataclass(frozen=True)
class SplitConfig:
    """How labelled videos are cut into training and test sides: a table's way, or folds."""

    num_folds: int
    split: str | None
    seed: int

    def of(
        self, paths: Sequence[str], labels: Sequence[str | None], groups: Sequence[str]
    ) -> tuple[Labelled, list[Fold]]:
        """Return the labelled videos and their folds.

        Raises:
            UserError: fewer than two classes, a class with fewer groups than folds, a wrong table.
        """
        rows = labelled(labels, groups)
        if self.split:
            return split_from(self.split, paths, rows)
        return rows, folds(rows.labels, rows.groups, self.num_folds, self.seed)


@dataclass(frozen=True)
class LabelledClips:
    """Labelled videos, decoded: the rows of `clips` are the readable ones."""

    clips: ClipLoader
    videos: Sequence[Video]
    labels: Sequence[str | None]

    @property
    def paths(self) -> list[str]:
        """Of the videos."""
        return [video.path for video in self.videos]

    @property
    def groups(self) -> list[str]:
        """Of the videos: what no cut may tear apart."""
        return [video.group for video in self.videos]


def open_labelled(
    source: str,
    config: EncoderConfig,
    cache: Path | None,
    *,
    label: str,
    workers: int,
    seed: int,
    cut: SplitConfig | None,
) -> LabelledClips:
    """Index, check and decode labelled videos, with bars.

    Raises:
        UserError: no such label column, fewer than two classes, what `cut` refuses.
    """
    found = make_index(source, None, workers)
    labels = found.labels(label)
    paths, groups = [v.path for v in found.videos], [v.group for v in found.videos]
    if cut:
        cut.of(paths, labels, groups)
    else:
        labelled(labels, groups)
    with bar("decoding") as advance:
        clips, report = open_clips(
            found.videos, config, cache or default_cache_folder(), seed=seed, progress=advance
        )
    say_set_aside(report.set_aside)
    label_of = dict(zip(paths, labels, strict=True))
    return LabelledClips(clips, report.readable, [label_of[v.path] for v in report.readable])


def check_labelled(source: str, cut: SplitConfig) -> None:
    """Refuse, before a search, labelled videos that could not score its winner at the end.

    Raises:
        UserError: nothing there, no labels, a class with fewer groups than folds.
    """
    found = scan(source)
    paths = [file.path for file in found]
    cut.of(paths, [file.label for file in found], [file.group or file.path for file in found])
