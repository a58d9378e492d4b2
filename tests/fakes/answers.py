"""An operator who has his answers ready."""

from __future__ import annotations

from sovtui.ports.link import Question


class Answers:
    """Answers questions from a list, and keeps them. One question more than there are answers is a failure."""

    def __init__(self, *answers: str | None) -> None:
        self._answers = list(answers)
        self.asked: list[Question] = []

    async def __call__(self, question: Question) -> str | None:
        self.asked.append(question)
        assert self._answers, question
        return self._answers.pop(0)
