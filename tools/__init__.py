"""Programs for those who work on chainrule; not installed."""
