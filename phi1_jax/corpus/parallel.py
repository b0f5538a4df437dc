"""Work spread over processes: in order, bounded in memory, and gone when the caller is."""

import multiprocessing
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from phi1_jax.errors import UserError

KILLED = "a worker was killed, perhaps for its memory; run the same command again"
State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")
# Set once in each worker, so that the state is not sent along with every item.
_work: Callable[[Any], Any]


def ordered_map(
    function: Callable[[State, Item], Result],
    state: State,
    items: Iterable[Item],
    workers: int,
    at_least: int = 4,
) -> Iterator[tuple[Item, Result]]:
    """Yields each item with `function(state, item)`, in the order of the items.

    At most two items a worker are under way, however many there are. The workers are fresh
    processes (forking one that runs JAX may hang it), so `function` and `state` must be picklable
    and a script needs its `__main__` guard. With one worker, or fewer items than `at_least`, all
    runs in this process: starting others takes half a second.

    Raises:
      Exception: what `function` raises.
      UserError: a worker was killed.
    """
    items = iter(items)
    first = list(islice(items, at_least))
    items = chain(first, items)
    if workers == 1 or len(first) < at_least:
        for item in items:
            yield item, function(state, item)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    under_way: deque[tuple[Item, Future[Result]]] = deque()
    with ProcessPoolExecutor(workers, context, _start, (function, state, os.getpid())) as pool:
        try:
            for item in items:
                under_way.append((item, pool.submit(_call, item)))
                if len(under_way) == 2 * workers:
                    item, future = under_way.popleft()
                    yield item, future.result()
            while under_way:
                item, future = under_way.popleft()
                yield item, future.result()
        except BrokenProcessPool as error:
            raise UserError(f"{KILLED} with fewer --workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def leave_with(parent: int) -> None:
    """Ends this process, a worker, once the process `parent` has ended, however it did.

    A parent that is killed cannot stop its workers: they would finish what they have, beside those
    of the next run, and then wait for more for ever.
    """

    def wait() -> None:
        with suppress(ProcessLookupError):  # it has ended already
            select.select([os.pidfd_open(parent)], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _start(function: Callable[[Any, Any], Any], state: Any, parent: int) -> None:
    global _work
    _work = partial(function, state)
    leave_with(parent)


def _call(item: Any) -> Any:
    return _work(item)
