"""The one exception that people cause and can mend."""


class UserError(Exception):
    """Bad input. The message is one line that names the file or flag and the remedy; a command exits with code 2."""
