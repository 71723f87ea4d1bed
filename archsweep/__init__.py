"""Asynchronous neural architecture search: the public API."""
