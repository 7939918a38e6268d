"""The command line: `chainrule train`, `evaluate`, `predict`, `gradcheck`."""
