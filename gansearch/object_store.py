"""Places on an object store, with pathlib's names for the few things that are done with them."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from gansearch.errors import ResultsError

_MISSING = (FileNotFoundError, NotADirectoryError)
_READ_TRIES = 10
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class RemotePath:
    """A place on an object store, with pathlib's names for what is done with it.

    Attributes:
        base: scheme and options of the URI: what opens the store.
        path: bucket and key, without a slash at either end.
    """

    base: Base
    path: str

    def __str__(self) -> str:
        return f"{self.base.scheme}://{self.path}{self.base.query}"

    def __truediv__(self, name: str) -> RemotePath:
        return dataclasses.replace(self, path=f"{self.path}/{name}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        return dataclasses.replace(self, path=self.path.rpartition("/")[0])

    def absolute(self) -> RemotePath:
        """Return itself: a URI is never relative."""
        return self

    resolve = absolute

    def exists(self) -> bool:
        """Return whether there is a file or folder."""
        return bool(self._type() != _types().NotFound)

    def is_file(self) -> bool:
        """Return whether there is a file."""
        return bool(self._type() == _types().File)

    def is_dir(self) -> bool:
        """Return whether there is a folder: anything whose name goes on from here."""
        return bool(self._type() == _types().Directory)

    def _type(self) -> Any:
        return self._told(lambda store: store.get_file_info([self.path])[0].type)

    def open_input(self) -> Any:
        """Return the file opened for reading at any place, as Arrow reads it."""
        return self._told(lambda store: store.open_input_file(self.path))

    def read_bytes(self) -> bytes:
        """Return the content."""
        return bytes(self._told(lambda store: _content(store, self.path)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Put a file there, in one step."""
        self._told(lambda store: _upload(store, self.path, content))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            self._told(lambda store: store.delete_file(self.path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def touch(self) -> None:
        """Put an empty file there."""
        self.write_bytes(b"")

    def rmdir(self) -> None:
        """Do nothing: where names alone make a folder, it goes with its last file."""

    def remove_tree(self) -> None:
        """Remove everything below."""
        self._told(lambda store: store.delete_dir(self.path))

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yield the files and folders in this folder whose name fits the pattern; none where there is no folder."""
        from pyarrow.fs import FileSelector

        found = self._told(lambda store: store.get_file_info(FileSelector(self.path, allow_not_found=True)))
        for info in found:
            if info.base_name and fnmatch.fnmatchcase(info.base_name, pattern):
                yield self / info.base_name

    def _told(self, call: Callable[[Any], T]) -> T:
        """Return what a call to the store returns; of an error, say where it was.

        Raises:
            OSError: as the store's; FileNotFoundError where there is nothing.
        """
        import pyarrow as pa

        try:
            return call(open_store(self.base))
        except _MISSING:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"{self} is out of reach: {_short(error)}",
                hint="check the network, the bucket's name, and the credentials in the environment",
            ) from error


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """What opens an object store.

    Attributes:
        scheme: of the URI.
        query: its options with the question mark, or nothing.
    """

    scheme: str
    query: str = ""


class StorageError(ResultsError, OSError):
    """An object store that does not answer, or refuses."""


@functools.cache
def open_store(base: Base) -> Any:
    """Return the Arrow file system of a store; the same one for all of its places."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        store, _ = fs.FileSystem.from_uri(f"{base.scheme}://bucket/x{base.query}")
        if isinstance(store, fs.S3FileSystem) and not base.query:
            # A part is small: one upload of it all, where else there were three requests.
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            store = fs.S3FileSystem(region=store.region, endpoint_override=endpoint, allow_delayed_open=True)
    except (pa.ArrowException, OSError) as error:
        if "nrecognized filesystem" not in str(error):
            raise ResultsError(f"the store of {base.scheme}:// cannot be used: {_short(error)}") from error
    else:
        return store
    try:
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(base.scheme)))
    except (ImportError, ValueError) as error:
        raise ResultsError(
            f"no store is known for {base.scheme}://: {error}",
            hint="s3://, gs:// and abfs:// are always known; others are those of fsspec",
        ) from error


def _types() -> Any:
    from pyarrow.fs import FileType

    return FileType


def _content(store: Any, path: str) -> bytes:
    """Return a file's content, of one version of it: Arrow asks for the size first, and reads as much of what is then.

    Raises:
        OSError: when it is replaced again and again meanwhile.
    """
    for _ in range(_READ_TRIES):
        with store.open_input_file(path) as file:
            content = bytes(file.readall())
        if store.get_file_info([path])[0].size == len(content):
            return content
    raise OSError(f"{path} changes faster than it can be read")


def _upload(store: Any, path: str, content: bytes) -> None:
    with store.open_output_stream(path) as file:
        file.write(content)


def _short(error: BaseException) -> str:
    """Return what a store says of an error in one line, without the numbers of its requests."""
    text = " ".join(str(error).split())
    return re.sub(r" \(Request ID: [^)]*\)|\. Detail: .*$", "", text)[:300]
