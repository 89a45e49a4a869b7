"""Runs, measures, significance, report: what the judge path needs."""
