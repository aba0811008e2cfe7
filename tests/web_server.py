"""A web server on this machine for tests of downloads: files from memory, parts of them, and what goes wrong."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """What is served, and what was asked.

    Attributes:
        files: path, such as ``'/a.pth'`` -> content.
        cut: path -> bytes after which the connection ends, one for each of the next answers.
        ranges: whether parts are given.
        pause: seconds between blocks of 64 kB.
        asked: (method, path, Range header) of each request.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.ranges, self.pause = True, 0.0
        self.asked: list[tuple[str, str, str | None]] = []

    def put(self, name: str, content: bytes) -> str:
        """Serve a file; its address."""
        self.files[f'/{name}'] = content
        return f'{self.address}/{name}'


@contextlib.contextmanager
def web_server(headers=lambda path, content: {}) -> Iterator[Web]:
    """Serve until the end of the block.

    Args:
        headers: more of them, by path and content.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *_) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            web.asked.append((self.command, self.path, self.headers['Range']))
            content = web.files.get(self.path.partition('?')[0])
            if content is None:
                self.send_error(404)
                return
            tag, start = f'"{hashlib.md5(content).hexdigest()}"', 0
            if web.ranges and self.headers['Range'] and self.headers['If-Range'] in (None, tag):
                start = int(self.headers['Range'].removeprefix('bytes=').partition('-')[0])
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
            for name, value in dict(ETag=tag, **headers(self.path, content)).items():
                self.send_header(name, value)
            self.send_header('Content-Length', str(len(content) - start))
            self.end_headers()
            if not body:
                return
            cuts = web.cut.get(self.path)
            end = cuts.pop(0) if cuts else len(content)
            with contextlib.suppress(OSError):
                for at in range(start, end, 1 << 16):
                    self.wfile.write(content[at : min(at + (1 << 16), end)])
                    time.sleep(web.pause)
            self.close_connection = end < len(content)

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    web = Web(f'http://127.0.0.1:{server.server_port}')
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
