"""What a worker process does for the cache: one video, decoded and stored."""

from pathlib import Path

from evossl.data.cache.entry import CacheBudget, decoding, entry_path, fault_path, pack
from evossl.data.decode.decoder import DecodeError, find_decoder
from evossl.data.decode.sound import decode_sound

CACHE = "evossl.data.cache.cache_worker:cache_file"


def cache_file(
    file: str,
    *,
    folder: str,
    key: str,
    decoder: str,
    fps: float,
    short_side: int,
    max_seconds: float,
    limit: int | None,
    evict: bool,
) -> dict[str, bool]:
    """Decode a local file into the cache, unless another process already has.

    Returns:
        {"stored": False} where the limit leaves no room and nothing may be evicted.

    Raises:
        DecodeError: not one frame can be read; noted in the cache, so that nobody tries again.
        RunError, UserError: the disk is full, the limit is less than one video.
    """
    room, target = CacheBudget(Path(folder), limit), entry_path(Path(folder), key)
    with decoding(Path(folder), key):
        if target.exists():
            return {"stored": True}
        try:
            frame_THWC = find_decoder(decoder).frames(file, fps, short_side, max_seconds)
        except DecodeError as error:
            reason = str(error).encode("utf-8", "backslashreplace")
            room.store(fault_path(Path(folder), key), [reason], evict=evict)
            raise
        sound_S = decode_sound(file, max_seconds)
        return {"stored": room.store(target, pack(frame_THWC, sound_S), evict=evict)}
