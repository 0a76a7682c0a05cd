"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """A mistake in the user's own input, told with its place and its mend.

    ``str(error)`` may hold several lines: the first names the file or the thing, each further one
    (indented) is one more mistake of the same kind.  Command lines print it and exit with 1.
    """

    def __init__(self, place: str, message: str, details: list[str] | None = None) -> None:
        self.place = place
        self.message = message
        self.details = details or []
        lines = [f"{place}: {message}" if place else message]
        super().__init__("\n".join(lines + [f"  {detail}" for detail in self.details]))
