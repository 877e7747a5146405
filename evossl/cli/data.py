"""The verbs about videos, `synth`, `index` and `cache`, and the preparation of a run's videos."""

import json
from dataclasses import dataclass
from pathlib import Path

import click

from evossl.cli.checks import check_out_file, check_out_folder
from evossl.cli.options import (
    COUNT,
    PATH,
    POSITIVE,
    json_option,
    num_cores,
    pass_options,
    seed_option,
    workers_option,
)
from evossl.cli.progress import print_message, progress_bar
from evossl.config import Cache, SearchSpace
from evossl.data.cache.clip_cache import ClipCache, FillReport, default_cache_folder
from evossl.data.index.index import Index, Video, build_index, load_index
from evossl.errors import RunError

MAX_LISTED_FILES = 5
DEFAULTS = Cache()


@click.command()
@click.argument("folder", type=PATH)
@click.option("--videos", required=True, type=COUNT, metavar="N", help="Number of videos.")
@click.option(
    "--classes",
    type=COUNT,
    metavar="N",
    default=8,
    show_default=True,
    help="Number of motion classes; their sizes follow Zipf's law.",
)
@seed_option
def synth(folder: Path, videos: int, classes: int, seed: int) -> None:
    """Write synthetic videos with known factors into FOLDER.

    The videos are H.264/AAC files. Their factors (motion, appearance, sound) are in labels.parquet.

    Example: evossl synth videos --videos 300 --classes 8
    """
    from evossl.data.synth.dataset import synthesise

    with progress_bar("writing videos") as progress:
        labels = synthesise(folder, videos, classes, seed, progress)
    click.echo(f"{_count(videos)} written to {folder}; their factors are in {labels}")


@click.command()
@click.argument("videos")
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    default="manifest.parquet",
    show_default=True,
    help="The manifest, with one row per file; a second run probes only what has changed.",
)
@workers_option("Number of processes that probe videos.")
@json_option
def index(videos: str, out: Path, workers: int, as_json: bool) -> None:
    """Probe every video, and set the unreadable ones aside.

    VIDEOS is a folder, a glob, a manifest or one video; a local path or an fsspec URL.

    Example: evossl index /archive --out manifest.parquet
    """
    check_out_file(out)
    found = make_index(videos, out, workers)
    if as_json:
        aside = [{"path": path, "reason": reason} for path, reason in found.quarantined]
        click.echo(json.dumps({"videos": len(found.videos), "quarantined": aside}))
    else:
        click.echo(f"{found.summary()}; {out}")


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Options of `evossl cache`."""

    videos: str
    out: Path | None
    fps: float
    short_side: int
    max_seconds: float
    limit_gb: float | None
    workers: int


@click.command()
@click.argument("videos")
@click.option(
    "--out",
    type=PATH,
    metavar="DIR",
    show_default="$EVOSSL_CACHE, or ~/.cache/evossl",
    help="Folder of the clip cache.",
)
@click.option(
    "--fps",
    type=POSITIVE,
    metavar="X",
    default=DEFAULTS.fps,
    show_default=True,
    help="Frames stored per second of video.",
)
@click.option(
    "--short-side",
    type=COUNT,
    metavar="N",
    default=DEFAULTS.short_side,
    show_default=True,
    help="Pixels of the shorter side of a stored frame.",
)
@click.option(
    "--max-seconds",
    type=POSITIVE,
    metavar="X",
    default=DEFAULTS.max_seconds,
    show_default=True,
    help="Seconds stored of each video, from its start.",
)
@click.option(
    "--limit-gb",
    type=POSITIVE,
    metavar="X",
    show_default="no limit",
    help="Size of the cache; the least recently used videos are deleted first.",
)
@workers_option("Number of processes that decode videos.")
@pass_options(CacheOptions)
def cache(options: CacheOptions) -> None:
    """Decode every video once into the clip cache.

    All runs on this machine share the cache. VIDEOS is a folder, a glob, a manifest or one video; a
    local path or an fsspec URL.

    Example: evossl cache manifest.parquet --out /scratch/clips
    """
    folder = options.out or default_cache_folder()
    check_out_folder(folder)
    settings = Cache(
        fps=options.fps,
        short_side=options.short_side,
        max_seconds=options.max_seconds,
        limit_gb=options.limit_gb,
    )
    found = make_index(options.videos, None, options.workers)
    report = fill_cache(found.videos, folder, settings, options.workers)
    click.echo(f"{_count(len(report.readable))} in {folder}")


def make_index(source: str, out: Path | None, workers: int) -> Index:
    """Return the index of a source; shows progress, and lists files that were set aside."""
    with progress_bar("indexing") as progress:
        found = build_index(source, out, workers=workers, progress=progress)
    print_set_aside(found.quarantined)
    return found


def prepare_videos(
    source: str, manifest: Path, cache: Path, space: SearchSpace, workers: int, *, has_begun: bool
) -> Index:
    """Return the index of a run's videos, all of them in the clip cache; writes the manifest.

    A video that was probed as readable but cannot be decoded is set aside.

    Args:
        source: the value of `--data`.
        manifest: path of the run's manifest, from which every process and every resume computes the
            same split.
        cache: folder of the clip cache.
        space: search space of the run.
        workers: number of processes.
        has_begun: something was already measured on the manifest's videos, so they must not change.

    Raises:
        UserError: too few videos.
        RunError: no video is readable, or a run that has begun has lost one.
    """
    from evossl.experiment.split import quarantine_undecodable, split_videos

    before = load_index(manifest) if has_begun else make_index(source, manifest, workers)
    split_videos(before.videos, space.fitness.clips)  # fails before hours of decoding, not after
    report = fill_cache(before.videos, cache, space.cache, workers)
    found = before.quarantine(dict(report.failed))
    with progress_bar("decoding the held-out videos") as progress:
        store = ClipCache(cache, space.cache, workers=workers)
        found = quarantine_undecodable(found, store, space.fitness.clips, progress)
    store.close()
    if has_begun:
        _check_nothing_lost(before, found)
    found.save(manifest)
    trained = len(split_videos(found.videos, space.fitness.clips).train)
    if trained < space.training.batch_size:
        print_message(
            f"training.batch_size: {space.training.batch_size} exceeds the {trained} training "
            f"videos; batches have {trained} clips"
        )
    return found


def _check_nothing_lost(before: Index, after: Index) -> None:
    if len(after.videos) < len(before.videos):
        path, reason = next(row for row in after.quarantined if row not in before.quarantined)
        raise RunError(
            f"{path}: {reason}; this run began with the video, and trials on other videos cannot "
            "be compared with its trials. Restore the file, or start a new run with another --out"
        )


def fill_cache(videos: list[Video], folder: Path, settings: Cache, workers: int) -> FillReport:
    """Decode videos into the cache; shows progress, and lists videos that were set aside."""
    store = ClipCache(folder, settings)
    with progress_bar("decoding into the cache") as progress:
        report = store.fill(videos, workers=min(workers, num_cores()), progress=progress)
    print_set_aside(report.failed)
    return report


def print_set_aside(files: list[tuple[str, str]]) -> None:
    """Print how many files were set aside, and (path, reason) of the first few."""
    if not files:
        return
    print_message(f"{len(files)} set aside:")
    for path, reason in files[:MAX_LISTED_FILES]:
        print_message(f"  {path}: {reason}")
    if len(files) > MAX_LISTED_FILES:
        more = len(files) - MAX_LISTED_FILES
        print_message(f"  and {more} more; the manifest lists all of them with their reasons")


def _count(videos: int) -> str:
    return f"{videos} video{'' if videos == 1 else 's'}"
