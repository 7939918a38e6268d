"""The lab: the user's own networks in a browser, forward and backward, on a page of this machine.

`chainrule lab` serves it (extra `lab`).  Pages are written on the server, their state stands in
their address, and everything they load comes from this package and its dependencies.
"""

from chainrule.lab.app import create_app
from chainrule.lab.settings import Settings

__all__ = ["Settings", "create_app"]
