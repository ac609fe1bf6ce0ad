"""Benchmarks that a user can run again: each keeps its numbers as JSON and draws them."""
