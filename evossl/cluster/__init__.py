"""Trials on Ray: the only importer of ray."""
