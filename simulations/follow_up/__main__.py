"""Write the invented diabetics as one CSV file per clinic: `python -m simulations.follow_up FOLDER [SEED]`."""

from __future__ import annotations

import sys
from pathlib import Path

from simulations.follow_up.table import SEED, follow_up_clinics


def main(arguments: list[str]) -> None:
    """Write `<clinic>.csv` for every clinic into a folder, which is created."""
    if not arguments or len(arguments) > 2 or not all(word.isdecimal() for word in arguments[1:]):
        sys.exit("usage: python -m simulations.follow_up FOLDER [SEED]")
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in follow_up_clinics(int(arguments[1]) if arguments[1:] else SEED).items():
        table.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
