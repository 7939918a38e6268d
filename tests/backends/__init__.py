"""Tests of the fast kernel pairs."""
