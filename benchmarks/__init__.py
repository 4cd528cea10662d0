"""Measurements, and what they must not exceed."""
