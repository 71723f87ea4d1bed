"""See `nas.nasbench101.api`: a drop-in for ``from nasbench import api``."""

from nas.nasbench101.api import Dataset, ModelSpec, NASBench, OutOfDomainError, Statistics

__all__ = ["Dataset", "ModelSpec", "NASBench", "OutOfDomainError", "Statistics"]
