"""A process that reads every cached video and keeps them mapped until a line comes on stdin.

python reader.py MANIFEST CACHE SETTINGS
"""

import sys
from pathlib import Path

from evossl.config import Cache
from evossl.video.cache import ClipCache
from evossl.video.index import load_index

WHOLE = 1 << 20  # frames


def main() -> None:
    """Read all, say how much it was, wait."""
    manifest, folder, settings = sys.argv[1:]
    cache = ClipCache(Path(folder), Cache.model_validate_json(settings))
    videos = load_index(Path(manifest)).videos
    print(sum(int(cache.read(video, 0, WHOLE)[0].sum()) for video in videos), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
