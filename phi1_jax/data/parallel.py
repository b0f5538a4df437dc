"""Work spread over processes: in order, bounded in memory, and gone when the caller is."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import Any, TypeVar

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
      Whatever `function` raises, and BrokenProcessPool if a worker is killed.
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
    with ProcessPoolExecutor(workers, context, _start, (function, state)) as pool:
        try:
            for item in items:
                under_way.append((item, pool.submit(_call, item)))
                if len(under_way) == 2 * workers:
                    item, future = under_way.popleft()
                    yield item, future.result()
            while under_way:
                item, future = under_way.popleft()
                yield item, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _start(function: Callable[[Any, Any], Any], state: Any) -> None:
    global _work
    _work = partial(function, state)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        # Killed, the parent tells nobody; a worker would wait for the next item for ever.
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _call(item: Any) -> Any:
    return _work(item)
