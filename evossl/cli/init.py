"""The verb init: look at what each choice of `ignores` does to your clips, choose, have a space."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from evossl.cli.checks import check_out_file
from evossl.cli.choices import choice_sheet
from evossl.cli.data import fill_cache, make_index
from evossl.cli.options import data_options, ignored_words, meaning
from evossl.cli.progress import say
from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache, default_cache_folder
from evossl.data.index.sources import scan
from evossl.data.loader import ClipLoader
from evossl.errors import UserError
from evossl.io.files import write_atomically, write_text
from evossl.io.spaces import load_space
from evossl.io.yaml_file import dump_yaml
from evossl.types import ClipBatch
from evossl.views.settings import ViewSettings

NUM_CLIPS = 3
NUM_TRIED = 9  # videos that are probed and decoded, so that three of them are readable
USUAL = {"motion": ("colour", "crop", "time"), "appearance": ("crop", "time")}
ASK = """
{picture}: a column for each of {clips} of your clips. The two rows of a choice are two views
of each clip that the encoder must take for the same: what they do not share, it cannot tell apart.
{usual}
Answer with one of these words, or with words of your own, as in crop,flip,time."""

T = TypeVar("T")


@click.command()
@data_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The space, a YAML file; the picture stands beside it.",
)
@click.option(
    "--space",
    default="elo",
    show_default=True,
    metavar="NAME|FILE",
    help="The space to begin from: a name of `evossl spaces`, or a YAML file.",
)
@click.option("--ignores", metavar="WORDS", help="Your choice; asked for if it is not given.")
def init(
    data: str, cache: Path | None, workers: int, out: Path, space: str, ignores: str | None
) -> None:
    """Show what each choice of `ignores` does to three of your clips, and make a space of yours.

    Example: evossl init --data DIR --out space.yaml
    """
    given = None if ignores is None else ignored_words(ignores)
    base = load_space(space, {"ignores": given or USUAL["motion"]})
    _check_name(out)
    if given is None and not sys.stdin.isatty():
        raise UserError(
            "--ignores: is missing, and there is nobody to ask: "
            + ", or ".join(f"{','.join(words)} ({name})" for name, words in USUAL.items())
        )
    picture = out.with_suffix(".ignores.png")
    clips, names = _few_clips(data, base, cache or default_cache_folder(), workers)
    choices = {_title(name, words): words for name, words in USUAL.items()}
    if given and tuple(given) not in USUAL.values():
        choices[_title("your choice", given)] = tuple(given)
    sheet = choice_sheet(clips, names, ViewSettings.from_space(base), choices)
    write_atomically(picture, lambda beside: sheet.save(beside, "png"))
    chosen = given or _asked(picture, len(names))
    write_text(out, space_text(base, chosen, space, picture))
    say(f"ignores {', '.join(chosen)}: {meaning(chosen)}")
    click.echo(f"space:   {out}\npicture: {picture}")
    next_line = ["evossl", "search", "--data", data, "--space", str(out), "--out", "RUN"]
    say(f"\nNext:\n  {shlex.join(next_line)}")


def _check_name(out: Path) -> None:
    """Refuse names that are taken or not those of a space."""
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: name a YAML file, {out.with_suffix('.yaml')}")
    if out.exists():
        raise UserError(f"--out {out}: is there already; give another name")
    check_out_file(out)


def _few_clips(
    data: str, space: SearchSpace, folder: Path, workers: int
) -> tuple[ClipBatch, list[str]]:
    """Stretches of a few videos from all over the source, and the videos' names."""
    paths = [f.path for f in scan(data) if f.fault is None and f.path.isprintable()]
    with tempfile.TemporaryDirectory(prefix="evossl-") as scratch:
        few = Path(scratch) / "few.parquet"
        pa.parquet.write_table(pa.table({"path": spread(paths, NUM_TRIED)}), few)
        found = make_index(str(few), None, workers)
    readable = fill_cache(found.videos, folder, space.cache, workers).readable
    videos = spread(readable, NUM_CLIPS)
    with closing(ClipCache(folder, space.cache)) as cache:
        loader = ClipLoader(cache, videos, stretch=space.clip.stretch, batch_size=1, seed=0)
        clips = loader.clips(range(len(videos)), draw=0)
    return clips, [video.path.rsplit("/", 1)[-1] for video in videos]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return up to `count` of the items: the first, the last, and others evenly between."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]


def _title(name: str, words: Sequence[str]) -> str:
    return f"{name}: ignores {', '.join(words)}; {meaning(words)}"


def _asked(picture: Path, num_clips: int) -> list[str]:
    """What the person at the terminal answers; asks again until it is a choice."""
    usual = "\n".join(
        f"  {name:<10}  {', '.join(words):<18}  {meaning(words)}" for name, words in USUAL.items()
    )
    say(ASK.format(picture=picture, clips=num_clips, usual=usual))
    answer: list[str] = click.prompt("ignores", value_proc=_choice, err=True)
    return answer


def _choice(text: str) -> list[str]:
    if text.strip() in USUAL:
        return list(USUAL[text.strip()])
    try:
        return ignored_words(text)
    except UserError as error:
        raise click.BadParameter(str(error).removeprefix("--ignores: ")) from error


def space_text(base: SearchSpace, ignores: Sequence[str], source: str, picture: Path) -> str:
    """Return YAML: the keys that the base sets, `ignores` as chosen; the others keep defaults."""
    keys = {**base.model_dump(mode="json", exclude_unset=True), "ignores": list(ignores)}
    text = dump_yaml(keys, inline_leaves=True)
    return (
        f"# `evossl init` made this from the space {source}; {picture.name} shows what `ignores` "
        f"does.\n{text}"
    )
