"""A progress bar on standard error, or nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int, done: int, name: str, *, shown: bool) -> Iterator[Callable[[str], None]]:
    """Yields `advance(text)`, to be called after each of `total` steps, of which `done` were done before (a resumed run)."""
    if not shown:
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=done, title=name)
        yield lambda text: bar.update(task, advance=1, description=text)
