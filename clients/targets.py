"""Checks webhook URLs: only public addresses are allowed, to prevent server-side request forgery.

A host is resolved when it is subscribed and again for each request. The request connects to the address that was
checked, so a DNS record that changes in between (DNS rebinding) has no effect.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv6Address, IPv6Network, ip_address

import httpx

from clients.vendor_http import CONNECT_SECONDS

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# Of its own, as a name server that does not answer blocks a thread, and every other connection is resolved in the
# threads of the event loop.
_RESOLVERS = ThreadPoolExecutor(16, thread_name_prefix="webhook-dns")

# IANA's global unicast space. IPv4-mapped and NAT64 addresses are outside it.
_PUBLIC_IPV6 = IPv6Network("2000::/3")


class TargetRefused(Exception):
    """The URL cannot receive webhooks; the message is for the API caller."""


class HostUnknown(Exception):
    """The host has no DNS record at present."""


class Targets:
    """Checks and resolves webhook URLs. `allow_private`, for tests, allows private addresses and http."""

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or _resolve

    async def check(self, url: str) -> None:
        """Check a URL that is being subscribed. Raises `TargetRefused`.

        A host without a DNS record is accepted, because each request resolves it again.
        """
        try:
            await self.addresses(self.parse(url))
        except HostUnknown:
            return

    def parse(self, url: str) -> httpx.URL:
        """The parsed URL. Raises `TargetRefused` if it is invalid, not https, or contains credentials."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise TargetRefused("not a valid URL") from None
        if not parsed.host or not 0 < _port(parsed) < 65536:
            raise TargetRefused("not a valid URL")
        if parsed.scheme != "https" and not (self._allow_private and parsed.scheme == "http"):
            raise TargetRefused("must begin with https://")
        if parsed.userinfo:
            raise TargetRefused("must not contain credentials")
        return parsed

    async def addresses(self, url: httpx.URL) -> Sequence[str]:
        """The host's IP addresses, all of them public.

        Raises:
            TargetRefused: one of them is not public.
            HostUnknown: there are none.
        """
        addresses = await self._resolve(url.raw_host.decode(), _port(url))
        if not (self._allow_private or all(is_public(address) for address in addresses)):
            raise TargetRefused("the host is not on the public internet")
        return addresses


def is_public(address: str) -> bool:
    """Whether this is a public unicast IP address."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        tunnelled = ip.sixtofour or ip.teredo
        return ip in _PUBLIC_IPV6 and ip.is_global and not tunnelled
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _port(url: httpx.URL) -> int:
    if url.port is not None:
        return url.port
    return 80 if url.scheme == "http" else 443


async def _resolve(host: str, port: int) -> Sequence[str]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, resolve)
    except (OSError, UnicodeError):
        raise HostUnknown("the host has no address") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
