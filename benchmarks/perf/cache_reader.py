"""Reads every cached video, prints by how many bytes the process's memory grew, and waits.

    python cache_reader.py MANIFEST CACHE SETTINGS

SETTINGS is the `cache` section of a space, as JSON. Memory is the proportional set size, in which
pages that processes share count in parts. The process ends when its standard input is closed.
"""

import re
import sys
from pathlib import Path

from evossl.config import Cache
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import load_index

ALL_FRAMES = 1 << 20  # more than any video has


def proportional_set_size() -> int:
    """Return the bytes of this process."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def main() -> None:
    """Read all videos, print the growth in bytes, and wait."""
    manifest, folder, settings = sys.argv[1:]
    cache = ClipCache(Path(folder), Cache.model_validate_json(settings))
    videos = load_index(Path(manifest)).videos
    before = proportional_set_size()
    for video in videos:
        assert cache.read(video, 0, ALL_FRAMES)[0].any()
    print(proportional_set_size() - before, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
