"""A process that changes an index until it is killed, and says what it has done.

`python -m tests.retrieval.crashing FOLDER SEED KIND`: a line "begin WHAT" before each change and
"done" after it, WHAT as JSON.  KIND is one of append, remove, rewrite, mixed, create.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np

from chainrule.retrieval.creating import create_index
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.writing import Writer
from tests.retrieval.shelves import SETTINGS, D, check_snapshot, next_version, rows


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def change(folder: Path, seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    with Snapshot(folder, wait=0.0) as found:
        ids, version = check_snapshot(found)
    living = sorted(ids)
    say("ready")
    for turn in itertools.count():
        with Writer(folder) as writer:
            for _ in range(4):
                what = kind if kind != "mixed" else random.choice(["append", "remove", "rewrite"])
                if len(living) < 30:
                    what = "append"
                if what == "append":
                    size = int(random.integers(1, 60))
                    names = [f"s{seed}-{turn}-{random.integers(1 << 60)}" for _ in range(size)]
                    say("begin " + json.dumps(["append", names]))
                    writer.append(*rows(names, version))
                    living += names
                elif what == "remove":
                    names = random.choice(living, int(random.integers(1, 12)), replace=False)
                    say("begin " + json.dumps(["remove", names.tolist()]))
                    writer.remove(names.tolist())
                    living = sorted(set(living) - set(names.tolist()))
                else:
                    say("begin " + json.dumps(["rewrite", version + 1]))
                    writer.rewrite(next_version, D)
                    version += 1
                say("done")


def create(folder: Path) -> None:
    say("ready")
    for number in itertools.count():
        files = {f"model/part-{part}": bytes([part]) * 100_000 for part in range(5)}
        create_index(folder / f"index-{number % 3}-{number}", SETTINGS, files)
        say("done")


if __name__ == "__main__":
    place, start, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    create(place) if how == "create" else change(place, start, how)
