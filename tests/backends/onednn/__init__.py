"""Proof that oneDNN's kernel pairs give what the references give."""
