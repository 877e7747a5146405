"""The verb `init`: show what each choice of `ignores` does to your clips, and write a space."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from evossl.cli.checks import check_out_file
from evossl.cli.data import fill_cache, make_index
from evossl.cli.options import (
    PATH,
    DataOptions,
    data_options,
    describe_ignores,
    parse_ignores,
    pass_options,
)
from evossl.cli.preview import draw_preview
from evossl.cli.progress import print_message
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

NUM_CLIPS = 3  # shown in the picture
NUM_CANDIDATES = 9  # videos that are decoded, so that at least three of them are readable
PRESETS = {"motion": ("colour", "crop", "time"), "appearance": ("crop", "time")}
QUESTION = """
{picture} has one column for each of {clips} of your clips. Below each choice are two rows: two
views of each clip that the encoder must map to the same features. It will be unable to tell apart
whatever differs between the two rows.
{presets}
Answer with one of these names, or with words of your own, for example crop,flip,time."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class InitOptions(DataOptions):
    """Options of `evossl init`."""

    out: Path
    space: str
    ignores: str | None


@click.command()
@data_options
@click.option(
    "--out",
    required=True,
    type=PATH,
    metavar="FILE",
    help="The new space, a YAML file. The picture is written beside it.",
)
@click.option(
    "--space",
    default="elo",
    show_default=True,
    metavar="NAME|FILE",
    help="The space to start from: a name listed by `evossl spaces`, or a YAML file.",
)
@click.option("--ignores", metavar="WORDS", help="Your choice. Without it, you are asked.")
@pass_options(InitOptions)
def init(options: InitOptions) -> None:
    """Choose `ignores` by what it does to your clips; write a space.

    A picture shows three of your clips under each choice.

    Example: evossl init --data DIR --out space.yaml
    """
    out = options.out
    given = None if options.ignores is None else parse_ignores(options.ignores)
    base = load_space(options.space, {"ignores": given or PRESETS["motion"]})
    _check_space_file(out)
    if given is None and not sys.stdin.isatty():
        examples = [f"{','.join(words)} ({name})" for name, words in PRESETS.items()]
        raise UserError(
            "--ignores: is missing, and there is no terminal to ask on; "
            f"give for example {' or '.join(examples)}"
        )
    picture = out.with_suffix(".ignores.png")
    clips, names = _sample_clips(base, options)
    choices = {_title(name, words): words for name, words in PRESETS.items()}
    if given and tuple(given) not in PRESETS.values():
        choices[_title("your choice", given)] = tuple(given)
    preview = draw_preview(clips, names, ViewSettings.from_space(base), choices)
    write_atomically(picture, lambda beside: preview.save(beside, "png"))
    chosen = given or _ask(picture, len(names))
    write_text(out, space_text(base, chosen, options.space, picture))
    print_message(f"ignores {', '.join(chosen)}: {describe_ignores(chosen)}")
    click.echo(f"space:   {out}\npicture: {picture}")
    command = ["evossl", "search", "--data", options.data, "--space", str(out), "--out", "RUN"]
    print_message(f"\nNext:\n  {shlex.join(command)}")


def _check_space_file(out: Path) -> None:
    """Refuse an `--out` that exists or is not a YAML file."""
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: is not a YAML file; give {out.with_suffix('.yaml')}")
    if out.exists():
        raise UserError(f"--out {out}: exists already; choose another name")
    check_out_file(out)


def _sample_clips(space: SearchSpace, options: InitOptions) -> tuple[ClipBatch, list[str]]:
    """Return stretches of a few videos from all over the source, and the videos' names."""
    folder = options.cache or default_cache_folder()
    files = [file.path for file in scan(options.data) if file.fault is None]
    paths = [path for path in files if path.isprintable()]
    with tempfile.TemporaryDirectory(prefix="evossl-") as scratch:
        candidates = Path(scratch) / "candidates.parquet"
        pa.parquet.write_table(pa.table({"path": spread(paths, NUM_CANDIDATES)}), candidates)
        found = make_index(str(candidates), None, options.workers)
    readable = fill_cache(found.videos, folder, space.cache, options.workers).readable
    videos = spread(readable, NUM_CLIPS)
    with closing(ClipCache(folder, space.cache)) as cache:
        loader = ClipLoader(cache, videos, stretch=space.clip.stretch, batch_size=1, seed=0)
        clips = loader.clips(range(len(videos)), draw=0)
    return clips, [video.path.rsplit("/", 1)[-1] for video in videos]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return up to `count` items at even distances, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]


def _title(name: str, words: Sequence[str]) -> str:
    return f"{name}: ignores {', '.join(words)}; {describe_ignores(words)}"


def _ask(picture: Path, num_clips: int) -> list[str]:
    """Return the choice of the person at the terminal; asks until the answer is valid."""
    presets = "\n".join(
        f"  {name:<10}  {', '.join(words):<18}  {describe_ignores(words)}"
        for name, words in PRESETS.items()
    )
    print_message(QUESTION.format(picture=picture, clips=num_clips, presets=presets))
    answer: list[str] = click.prompt("ignores", value_proc=_parse_answer, err=True)
    return answer


def _parse_answer(text: str) -> list[str]:
    if text.strip() in PRESETS:
        return list(PRESETS[text.strip()])
    try:
        return parse_ignores(text)
    except UserError as error:
        raise click.BadParameter(str(error).removeprefix("--ignores: ")) from error


def space_text(base: SearchSpace, ignores: Sequence[str], source: str, picture: Path) -> str:
    """Return YAML with the keys that the base space sets, and the chosen `ignores`."""
    keys = {**base.model_dump(mode="json", exclude_unset=True), "ignores": list(ignores)}
    return (
        f"# Written by `evossl init` from the space {source}. {picture.name} shows what `ignores` "
        f"does.\n{dump_yaml(keys, inline_leaves=True)}"
    )
