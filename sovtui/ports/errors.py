"""The few errors that adapters raise. Each says what happened, where, and what to do next."""

from __future__ import annotations

from sovtui.core.reach import Evidence, Verdict


class PortError(Exception):
    """Base. `str(error)` is one clean sentence for the user; `advice` is what to do next (may be empty)."""

    kind = "failed"

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice
        self.evidence: Evidence | None = None
        """What was seen, if it was the way that failed: whoever knows more of the way can judge it again."""
        self.verdict = Verdict.NONE

    def sentence(self) -> str:
        """Message and advice as one text."""
        return f"{self}. {self.advice}" if self.advice else str(self)


class Unreachable(PortError):
    """Nobody answers: no route, refused, name unknown, connection lost. Trying again may help."""

    kind = "unreachable"


class NobodyListens(Unreachable):
    """The machine answered, and said that nothing listens at that port."""

    kind = "nobody-listens"


class TimedOut(Unreachable):
    """No answer in time."""

    kind = "timed-out"


class AnswerLost(Unreachable):
    """It was asked, and the answer did not come whole: what has become of it is not known. Looking again tells."""

    kind = "answer-lost"


class Refused(PortError):
    """It answered and said no: wrong key, password, permission. Trying again does not help."""

    kind = "refused"


class HostKeyError(Refused):
    """The host's key is unknown or changed."""

    kind = "host-key"

    def __init__(self, message: str, advice: str = "", *, changed: bool, fingerprint: str, known: str = "") -> None:
        super().__init__(message, advice)
        self.verdict = Verdict.KEY_CHANGED if changed else Verdict.KEY_UNKNOWN
        self.changed = changed
        self.fingerprint = fingerprint
        self.known = known


class Malformed(PortError):
    """It answered something that is not what it should be."""

    kind = "malformed"


class OtherProtocol(Malformed):
    """It answered in another language altogether: somebody else is at that port."""

    kind = "other-protocol"


class Unsupported(PortError):
    """The other side does not have this."""

    kind = "unsupported"


class NotYet(PortError):
    """It cannot tell yet, for something that it needs has not been told: neither an answer nor a failure."""

    kind = "not-yet"

    def __init__(self, message: str, advice: str = "", *, soon: bool = True) -> None:
        """`soon`: what is missing may come at any moment; else it is asked again at its usual time."""
        super().__init__(message, advice)
        self.soon = soon


class Absent(Unsupported):
    """There is no such thing here and nothing is wrong with that: a machine without a GPU."""

    kind = "absent"
