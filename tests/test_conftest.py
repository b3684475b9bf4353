"""The compiled programs that the workers of these tests share: whole, or not there."""

import threading

from jax._src.lru_cache import LRUCache


def test_nobody_reads_what_is_half_written(tmp_path):
    program, seen = bytes(2**27), set()
    cache = LRUCache(str(tmp_path), max_size=-1)
    writing = threading.Thread(target=cache.put, args=("key", program))
    writing.start()
    while writing.is_alive():
        found = cache.get("key")
        seen.add(None if found is None else len(found))
    writing.join()
    assert seen <= {None, len(program)}
    assert cache.get("key") == program
    assert [file.name for file in tmp_path.iterdir()] == ["key-cache"]
