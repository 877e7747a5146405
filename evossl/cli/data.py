"""The verbs about videos: synth, index, cache."""

import json
from pathlib import Path

import click

from evossl.cli.checks import check_out_file, check_out_folder
from evossl.cli.options import json_option, num_cores, seed_option, workers_option
from evossl.cli.progress import bar, say
from evossl.config import Cache, SearchSpace
from evossl.data.cache.clip_cache import ClipCache, FillReport, default_cache_folder
from evossl.data.index.index import Index, Video, build_index, load_index
from evossl.errors import RunError

MAX_LISTED = 5
POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--videos", required=True, type=click.IntRange(1), help="How many.")
@click.option(
    "--classes",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Motion classes, in Zipf shares.",
)
@seed_option
def synth(folder: Path, videos: int, classes: int, seed: int) -> None:
    """Write synthetic videos (H.264, AAC) whose factors are known, with labels.parquet.

    Example: evossl synth videos --videos 300 --classes 8
    """
    from evossl.data.synth.dataset import synthesise

    with bar("writing videos") as advance:
        labels = synthesise(folder, videos, classes, seed, advance)
    click.echo(f"{_counted(videos)} in {folder}; their factors in {labels}")


@click.command()
@click.argument("videos")
@click.option(
    "--out", default="manifest.parquet", show_default=True, type=click.Path(path_type=Path)
)
@workers_option("Processes that probe.")
@json_option
def index(videos: str, out: Path, workers: int, as_json: bool) -> None:
    """Probe every video once; what cannot be read is set aside with its reason.

    VIDEOS is a folder, a glob, a manifest or a single video, here or at an fsspec URL.

    Example: evossl index /archive --out manifest.parquet
    """
    check_out_file(out)
    found = make_index(videos, out, workers)
    if as_json:
        aside = [{"path": path, "reason": reason} for path, reason in found.quarantined]
        click.echo(json.dumps({"videos": len(found.videos), "quarantined": aside}))
    else:
        click.echo(f"{found.summary()}; {out}")


@click.command()
@click.argument("videos")
@click.option("--out", type=click.Path(path_type=Path), help="Default: $EVOSSL_CACHE.")
@click.option(
    "--fps", type=POSITIVE, default=Cache().fps, show_default=True, help="Frames kept a second."
)
@click.option(
    "--short-side",
    type=click.IntRange(1),
    default=Cache().short_side,
    show_default=True,
    help="Pixels.",
)
@click.option(
    "--max-seconds",
    type=POSITIVE,
    default=Cache().max_seconds,
    show_default=True,
    help="Of a video.",
)
@click.option("--limit-gb", type=POSITIVE, help="Least recently used videos make room.")
@workers_option("Processes that decode.")
def cache(
    videos: str,
    out: Path | None,
    fps: float,
    short_side: int,
    max_seconds: float,
    limit_gb: float | None,
    workers: int,
) -> None:
    """Decode every video once into the clip cache that all trials on this node share.

    Example: evossl cache manifest.parquet --out /scratch/clips
    """
    folder = out or default_cache_folder()
    check_out_folder(folder)
    settings = Cache(fps=fps, short_side=short_side, max_seconds=max_seconds, limit_gb=limit_gb)
    found = make_index(videos, None, workers)
    report = fill_cache(found.videos, folder, settings, workers)
    click.echo(f"{_counted(len(report.readable))} in {folder}")


def make_index(source: str, out: Path | None, workers: int) -> Index:
    """Index with a bar, and say how many were set aside and why."""
    with bar("indexing") as advance:
        found = build_index(source, out, workers=workers, progress=advance)
    say_set_aside(found.quarantined)
    return found


def prepare_videos(
    source: str, manifest: Path, folder: Path, space: SearchSpace, workers: int, *, begun: bool
) -> Index:
    """Index and cache a run's videos; what the probe believed and decoding did not is set aside.

    Args:
        source: of the videos.
        manifest: of the run: written here, so that every process and every resume splits alike.
        folder: of the clip cache.
        space: of the run.
        workers: processes.
        begun: something was measured on the manifest's videos: they stay what they were.

    Raises:
        UserError: too few videos.
        RunError: no video can be read; some of a run that has begun cannot any more.
    """
    from evossl.experiment.split import set_aside_unscorable, split_videos

    before = load_index(manifest) if begun else make_index(source, manifest, workers)
    split_videos(before.videos, space.fitness.clips)  # too few: said before hours of decoding
    report = fill_cache(before.videos, folder, space.cache, workers)
    found = before.set_aside(dict(report.set_aside))
    with bar("decoding the held-out videos") as advance:
        store = ClipCache(folder, space.cache, workers=workers)
        found = set_aside_unscorable(found, store, space.fitness.clips, advance)
    store.close()
    if begun and len(found.videos) < len(before.videos):
        path, reason = next(row for row in found.quarantined if row not in before.quarantined)
        raise RunError(
            f"{path}: {reason}; this run has begun with it, and trials on other videos cannot be "
            "held against its own: bring it back, or begin anew with another --out"
        )
    found.save(manifest)
    trained = len(split_videos(found.videos, space.fitness.clips).train)
    if trained < space.training.batch_size:
        say(
            f"training.batch_size: {space.training.batch_size}, but {trained} videos are trained "
            f"on: batches are of {trained}"
        )
    return found


def fill_cache(videos: list[Video], folder: Path, settings: Cache, workers: int) -> FillReport:
    """Fill the cache with a bar, and say how many were set aside and why."""
    store = ClipCache(folder, settings)
    with bar("decoding into the cache") as advance:
        report = store.fill(videos, workers=min(workers, num_cores()), progress=advance)
    say_set_aside(report.set_aside)
    return report


def say_set_aside(aside: list[tuple[str, str]]) -> None:
    """One line says how many; the first few follow with their reasons."""
    if not aside:
        return
    say(f"{len(aside)} set aside:")
    for path, reason in aside[:MAX_LISTED]:
        say(f"  {path}: {reason}")
    if len(aside) > MAX_LISTED:
        say(f"  and {len(aside) - MAX_LISTED} more, with their reasons, in the manifest")


def _counted(videos: int) -> str:
    return f"{videos} video{'' if videos == 1 else 's'}"
