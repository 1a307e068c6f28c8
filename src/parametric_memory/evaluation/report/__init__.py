"""What a run of the evaluation says: figures from rows, tables and pictures from figures, pages from both.

No model is loaded here: a report can be made anew from the files of a run.
"""

from parametric_memory.evaluation.report.figures import figures, overall
from parametric_memory.evaluation.report.markdown import render
from parametric_memory.evaluation.report.pages import write_benchmarks, write_reports
from parametric_memory.evaluation.report.results import read_results
from parametric_memory.evaluation.report.stated import stated

__all__ = ["figures", "overall", "read_results", "render", "stated", "write_benchmarks", "write_reports"]
