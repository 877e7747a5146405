"""Writes one HTML page from a run folder alone: `write_report(run)`."""

from evossl.report.page import write_report

__all__ = ["write_report"]
