"""The job of a worker process that fills the cache: decode one video and store it."""

from dataclasses import dataclass
from pathlib import Path

from evossl.data.cache.budget import CacheBudget
from evossl.data.cache.clip_file import clip_bytes, clip_path, decoding_lock, fault_path
from evossl.data.decode.decoder import DecodeError, find_decoder
from evossl.data.decode.sound import decode_sound

DECODE_JOB = "evossl.data.cache.decode_job:decode_into_cache"


@dataclass(frozen=True)
class DecodeRecipe:
    """How a video is decoded into the cache.

    Attributes:
        decoder: a name that `find_decoder` knows.
        fps: frames per second.
        short_side: pixels of the short side.
        max_seconds: what is longer is cut off at the end.
    """

    decoder: str
    fps: float
    short_side: int
    max_seconds: float


def decode_into_cache(
    file: str,
    *,
    folder: str,
    key: str,
    recipe: dict[str, str | float],
    limit: int | None,
    evict: bool,
) -> dict[str, bool]:
    """Decode a local file into the cache, unless another process already has.

    Args:
        file: the video.
        folder: the cache's folder.
        key: the video's key in the cache.
        recipe: fields of a `DecodeRecipe`.
        limit: bytes of `CacheBudget`.
        evict: make space by deleting the least recently used videos.

    Returns:
        {"stored": False} where the limit leaves no space and nothing may be evicted.

    Raises:
        DecodeError: no frame can be decoded; this is noted in the cache, so that no process tries
            again.
        RunError, UserError: the disk is full, or the limit is less than one video.
    """
    budget, target = CacheBudget(Path(folder), limit), clip_path(Path(folder), key)
    how = DecodeRecipe(**recipe)  # type: ignore[arg-type]  # plain data: it came as JSON
    with decoding_lock(Path(folder), key):
        if target.exists():
            return {"stored": True}
        try:
            decoder = find_decoder(how.decoder)
            frame_THWC = decoder.frames(file, how.fps, how.short_side, how.max_seconds)
        except DecodeError as error:
            reason = str(error).encode("utf-8", "backslashreplace")
            budget.store(fault_path(Path(folder), key), [reason], evict=evict)
            raise
        sound_S = decode_sound(file, how.max_seconds)
        return {"stored": budget.store(target, clip_bytes(frame_THWC, sound_S), evict=evict)}
