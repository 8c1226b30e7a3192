"""A window of steps traced for TensorBoard's profiler."""

import jax
from etils import epath

from gid_jax.errors import UserError

NOTHING = range(0)


def parse(text: str) -> range:
    """ "100:110" as the steps 100 to 109. Raises UserError for anything else; nothing for ""."""
    if not text:
        return NOTHING
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise UserError(f"--profile={text}: write FIRST:END, for example 100:110 for ten steps")
    return range(int(first), int(end))


class Profiler:
    """Traces the steps of a window into `workdir`/plugins/profile, where TensorBoard looks for it; in each process."""

    def __init__(self, workdir: str, window: range):
        self._workdir, self._window, self._running = workdir, window, False

    def before(self, step: int) -> None:
        """Begins or ends the trace if it is time; to be called before each step."""
        if step in self._window and not self._running:
            jax.profiler.start_trace(str(epath.Path(self._workdir)))
            self._running = True
        elif self._running and step not in self._window:
            self.close()

    def close(self) -> None:
        if self._running:
            jax.effects_barrier()
            jax.profiler.stop_trace()
            self._running = False
