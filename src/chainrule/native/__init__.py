"""Kernels of our own, compiled from the C files in `source` when the package is built.

The fast backend uses them beside oneDNN's, on the same threads.  Where they are missing, oneDNN
computes everything.
"""
