"""Trains a classifier of sentiment on one client's labelled support tickets."""
