"""Tables of fast kernel pairs, one folder a backend; found by name, imported by nobody.

`engine.dispatch` loads `chainrule.backends.NAME` when NAME is asked for, and uses its `BACKEND`.
"""
