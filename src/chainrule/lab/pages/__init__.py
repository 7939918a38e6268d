"""The pages, one file each, and the table of those that an application serves."""

from flask import Blueprint

from chainrule.lab.pages.circuit import blueprint as circuit
from chainrule.lab.pages.handed import blueprint as handed
from chainrule.lab.pages.home import blueprint as home
from chainrule.lab.pages.look import blueprint as look
from chainrule.lab.pages.network import blueprint as network
from chainrule.lab.pages.retrieval import blueprint as retrieval
from chainrule.lab.pages.training import blueprint as training

PAGES: tuple[Blueprint, ...] = (home, circuit, network, training, look, retrieval, handed)
"""What an application serves."""

__all__ = ["PAGES"]
