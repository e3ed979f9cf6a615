"""One simulated life, as it was: `PYTHONPATH=tests python -m simulation SEED` prints what was said, and its digest."""

import sys
import tempfile
from pathlib import Path

from simulation.world import live


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        life = live(int(sys.argv[1]), Path(folder))
    sys.stdout.write("\n".join((*life.lines, f"digest {life.digest}", life.broken or "kept its word")) + "\n")
    return 1 if life.broken else 0


if __name__ == "__main__":
    sys.exit(main())
