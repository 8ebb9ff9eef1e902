"""Scores the sentiment of a share of one client's support tickets."""
