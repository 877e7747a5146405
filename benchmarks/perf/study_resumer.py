"""Opens a study as a resumed search does, and prints the seconds until its first proposal.

python study_resumer.py FOLDER
"""

import sys
import time
from pathlib import Path

from evossl.cluster.rungs import RungScheduler
from evossl.config import Stopping
from evossl.search.study import Study
from evossl.search.table import write_table


def main() -> None:
    """Open the study, write the table, restore the rungs, and ask for a proposal."""
    folder = Path(sys.argv[1])
    begin = time.perf_counter()
    with Study.open(folder) as study:
        write_table(folder / "trials.parquet", study.rows())
        RungScheduler(Stopping(), study.rows())
        study.ask()
        print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
