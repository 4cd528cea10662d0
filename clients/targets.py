"""Where webhooks may go: to public addresses only, so that nobody reaches through us what only we can reach.

A name is looked up when it is subscribed and again for each send, and the connection is made to the address that was
checked: a name that means another address a moment later gains nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address, IPv6Network, ip_address

import httpx

from clients.wire import CONNECT_SECONDS

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# Outside of it no IPv6 address is both public and one machine's; IPv4 addresses in IPv6 clothes are outside, too.
_PUBLIC_IPV6 = IPv6Network("2000::/3")


class TargetRefused(Exception):
    """No webhook goes there; the message is for whoever subscribed."""


class HostUnknown(Exception):
    """The name has no address now; it may have one later."""


class Targets:
    """Tells which addresses may be sent to. `allow_private` also allows plain http: for tests and laptops."""

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or _resolve

    async def check(self, url: str) -> None:
        """Let pass what may be subscribed; a name without an address passes, as each send looks again.

        Raises:
            TargetRefused: it cannot be a target.
        """
        try:
            await self.addresses(self.parse(url))
        except HostUnknown:
            return

    def parse(self, url: str) -> httpx.URL:
        """The target, whatever its host means.

        Raises:
            TargetRefused: not a valid URL, not https, or with credentials in it.
        """
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
        """The IP addresses of the target's host, every one of which may be sent to.

        Raises:
            TargetRefused: one of them is not public.
            HostUnknown: there are none.
        """
        addresses = await self._resolve(url.raw_host.decode(), _port(url))
        if not (self._allow_private or all(is_public(address) for address in addresses)):
            raise TargetRefused("its host is not on the public internet")
        return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is one machine's on the public internet."""
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
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostUnknown("its host has no address") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
