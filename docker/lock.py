"""Write requirements with hashes from pip's report on what it would install: `make lock`.

The hashes are those of the files that pip chose on this machine, so the lock is for its platform and Python alone.
"""

from __future__ import annotations

import json
import sys

HEAD = """\
# Every file of the image, by hash: for Python 3.11 on Linux, x86-64, with torch's build for processors (+cpu).
# Written by `make lock` from constraints.txt. pip refuses what is not listed (`--require-hashes`).
"""


def main() -> None:
    """Read the report from standard input and write the requirements to standard output."""
    lines = []
    for item in json.load(sys.stdin)["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        archive = item["download_info"].get("archive_info")
        if archive is not None:  # this project itself is a folder
            lines.append(f"{name.lower()}=={version} --hash=sha256:{archive['hashes']['sha256']}\n")
    sys.stdout.write(HEAD + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
