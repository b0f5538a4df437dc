"""The offline teacher: a typed, compositional generator of exercises and textbook sections."""

from phi1_jax.synthesis.offline_teacher.benchmark import build_benchmark
from phi1_jax.synthesis.offline_teacher.settings import TeacherSettings
from phi1_jax.synthesis.offline_teacher.teacher import (
    OfflineTeacher,
    plan_exercises,
    plan_textbooks,
)

__all__ = [
    "OfflineTeacher",
    "TeacherSettings",
    "build_benchmark",
    "plan_exercises",
    "plan_textbooks",
]
