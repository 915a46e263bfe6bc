"""The web pages of the simulated Internet, without a kernel."""

import pytest

from stockade.lab.addresses import EXAMPLE_IP, GOOGLE_IP
from stockade.lab.internet import _response


@pytest.mark.parametrize(
    ("request_line", "address", "status", "text"),
    [
        (b"GET / HTTP/1.1", EXAMPLE_IP, b"200 OK", b"<h1>Example Domain</h1>"),
        (b"GET /index.html HTTP/1.0", EXAMPLE_IP, b"200 OK", b"<h1>Example Domain</h1>"),
        (b"GET / HTTP/1.1", GOOGLE_IP, b"200 OK", b"<h1>Search</h1>"),
        (b"GET /robots.txt HTTP/1.1", GOOGLE_IP, b"404 Not Found", b"Not Found"),
        (b"POST / HTTP/1.1", EXAMPLE_IP, b"405 Method Not Allowed", b""),
    ],
)
def test_pages(request_line, address, status, text):
    head, _, body = _response(request_line + b"\r\n\r\n", address).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert text in body


def test_head_has_the_length_of_the_page_and_no_page():
    page = _response(b"GET / HTTP/1.1\r\n\r\n", EXAMPLE_IP).partition(b"\r\n\r\n")
    head = _response(b"HEAD / HTTP/1.1\r\n\r\n", EXAMPLE_IP).partition(b"\r\n\r\n")
    assert head[0] == page[0]
    assert head[2] == b""
