"""A process that reads every cached video, says by how many bytes its memory grew, and waits.

python reader.py MANIFEST CACHE SETTINGS

Proportional set size: shared pages count in parts. It ends when stdin does.
"""

import re
import sys
from pathlib import Path

from evossl.config import Cache
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import load_index

WHOLE = 1 << 20  # frames


def held() -> int:
    """Bytes of this process."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def main() -> None:
    """Read all, say what it cost."""
    manifest, folder, settings = sys.argv[1:]
    cache = ClipCache(Path(folder), Cache.model_validate_json(settings))
    videos = load_index(Path(manifest)).videos
    before = held()
    for video in videos:
        assert cache.read(video, 0, WHOLE)[0].any()
    print(held() - before, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
