"""What all pages of one lab share: settings, networks, indexes, pictures, the training."""

from __future__ import annotations

import secrets
from typing import cast

from flask import current_app

from chainrule.lab.background import Drawings
from chainrule.lab.indexes import Indexes
from chainrule.lab.jobs import Jobs
from chainrule.lab.mistakes import Mistakes
from chainrule.lab.pictures import Pictures
from chainrule.lab.runs import Runs
from chainrule.lab.settings import Settings
from chainrule.lab.subjects import Subjects

EXTENSION = "chainrule"
"""The name under which an application holds its workshop."""


class Workshop:
    """One lab's things; each keeps itself safe where several requests come at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.subjects = Subjects(settings)
        self.pictures = Pictures(settings.private / "pictures")
        self.drawings = Drawings()
        self.seal = secrets.token_bytes(32)  # of words that one page hands to the next
        self.runs = Runs(settings)
        self.indexes = Indexes(settings)
        self.jobs = Jobs(settings.private / "training.lock")
        self.mistakes = Mistakes()

    def close(self) -> None:
        """Let the training that runs save and end, and wait for that."""
        self.jobs.close()


def workshop() -> Workshop:
    """Give the workshop of the application that answers this request."""
    return cast(Workshop, current_app.extensions[EXTENSION])
