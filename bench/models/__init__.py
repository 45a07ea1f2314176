"""Whole models with our norms beside the same with torch's own."""
