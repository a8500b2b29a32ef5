"""When replies leave: at marks of a fixed grid, so that the time of a computation on records is not seen outside."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from common.protocol.messages import DataRequest, MaskedRequest, Request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplyGrid:
    """Holds a reply back until the next multiple of `grid_s` after its request began to be answered.

    A computation shorter than the grid always leaves at the first mark. A longer one shows at which of the marks it
    ended, and nothing finer: choose a grid above the seconds that the site's rounds take. The log says when one did not
    suffice.

    Attributes:
        grid_s: distance of the marks in seconds; 0 holds nothing back.
        now: returns the seconds of a clock that is never set back.
        sleep: waits for that many seconds.
    """

    grid_s: float
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def hold(self, request: Request, began: float) -> None:
        """Wait for the next mark if the request is answered from records, whether it was answered or refused.

        Args:
            request: the request.
            began: when the agent began to answer it, by `now`.
        """
        if not self.grid_s or not isinstance(request, DataRequest | MaskedRequest):
            return
        number = max(1, math.ceil((self.now() - began) / self.grid_s))
        if number > 1:
            log.warning(
                "the reply to %s missed the first mark and leaves at mark %d, which shows how long it took: raise "
                "[timing] grid_s = %g in site.toml above the seconds of its rounds",
                request.kind,
                number,
                self.grid_s,
            )
        while (remaining_s := began + number * self.grid_s - self.now()) > 0:
            self.sleep(remaining_s)
