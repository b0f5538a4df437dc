"""The offline teacher: a grammar of programs, and the words for what they do."""

from phi1_jax.synthesis.offline_teacher.benchmark import build_benchmark
from phi1_jax.synthesis.offline_teacher.draft import TOPICS
from phi1_jax.synthesis.offline_teacher.teacher import (
    OfflineTeacher,
    plan_exercises,
    plan_textbooks,
)

__all__ = ["TOPICS", "OfflineTeacher", "build_benchmark", "plan_exercises", "plan_textbooks"]
