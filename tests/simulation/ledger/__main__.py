"""One simulated life of settlers, as it was: `PYTHONPATH=tests python -m simulation.ledger SEED`."""

import sys

from simulation.ledger.world import live


def main() -> int:
    life = live(int(sys.argv[1]))
    sys.stdout.write("\n".join((*life.lines, f"digest {life.digest}", life.broken or "kept its word")) + "\n")
    return 1 if life.broken else 0


if __name__ == "__main__":
    sys.exit(main())
