"""The ways evossl fails and warns on purpose.

`cli` makes exit codes of errors and lines of warnings, a trial a `Failure`.
"""


class UserError(ValueError):
    """Wrong usage: the message names the file, key or word and the remedy (exit code 2)."""


class RunError(RuntimeError):
    """The work cannot be done here: no readable video, a full disk (exit code 1)."""


class EncoderWarning(UserWarning):
    """An encoder that loads, and of which its folder says what must not be overlooked."""


MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a user's own file may raise while it is loaded or called."""
