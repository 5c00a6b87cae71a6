"""What a TURN server lends for a time: permissions for peers, channels to them (RFC 8656 sections 9, 12)."""

from __future__ import annotations

import enum
import math
from typing import Any

from rtcstack import stun
from rtcstack.stun import Address, Attribute
from rtcstack.turn.options import Options

__all__ = ["CHANNEL_BIND", "CREATE_PERMISSION", "GRANTED", "IDLE", "REFUSED", "Grant", "Grants"]

CREATE_PERMISSION = 0x008
CHANNEL_BIND = 0x009
"""Methods (RFC 8656 section 17)."""

_PERMISSION_LIFETIME = 300.0
_CHANNEL_LIFETIME = 600.0
_FIRST_CHANNEL = 0x4000


class GrantState(enum.Enum):
    """What is known about it."""

    IDLE = "idle"
    WANTED = "wanted"
    ASKED = "asked"
    GRANTED = "granted"
    REFUSED = "refused"


IDLE = GrantState.IDLE
WANTED = GrantState.WANTED
ASKED = GrantState.ASKED
GRANTED = GrantState.GRANTED
REFUSED = GrantState.REFUSED


class Grant:
    """A permission (method CreatePermission) or a channel binding (ChannelBind).

    It is renewed as long as we send to the peer; a peer cannot keep it alive.

    method, attributes    of the request that asks for it.
    lifetime              seconds for which the server grants it.
    renew_after           seconds after which to ask again.
    number                of the channel, 0 for a permission.

    due                   when to ask; inf while there is nothing to ask.
    expires               when it ends; of a refused one, when asking makes sense again.
    is_used               whether something was sent by it since it was granted.
    """

    __slots__ = (
        "attributes",
        "due",
        "expires",
        "is_used",
        "lifetime",
        "method",
        "number",
        "renew_after",
        "state",
    )

    def __init__(
        self,
        method: int,
        attributes: dict[Attribute[Any], Any],
        lifetime: float,
        renew_after: float,
        number: int = 0,
    ) -> None:
        self.method = method
        self.attributes = attributes
        self.lifetime = lifetime
        self.renew_after = renew_after
        self.number = number
        self.want()

    def want(self) -> None:
        """Note that it is to be asked for."""
        self.state = WANTED
        self.due = -math.inf
        self.expires = math.inf
        self.is_used = False

    def ask(self, now: float) -> None:
        """Note that the server has been asked, for the first time or to renew it."""
        self.due = math.inf
        if self.state is WANTED:
            # The server may know of it before we hear so: its peer is listened to from here on.
            self.state = ASKED
            self.expires = now + self.lifetime

    def grant(self, now: float) -> None:
        """Note the server's consent."""
        self.state = GRANTED
        self.due = now + self.renew_after
        self.expires = now + self.lifetime
        self.is_used = False

    def refuse(self, now: float, hold: float) -> None:
        """Note the server's refusal, and leave it alone for `hold` seconds."""
        self.state = REFUSED
        self.due = math.inf
        self.expires = now + hold
        self.is_used = False

    def lapse(self) -> None:
        """Note that it has ended and nobody needs it."""
        self.state = IDLE
        self.due = self.expires = math.inf

    def admits(self, now: float) -> bool:
        """Tell whether the server may pass on what the peer sends."""
        return now < self.expires and (self.state is GRANTED or self.state is ASKED)


class Grants:
    """All that one allocation has been lent, or wants to be.

    permissions    by IP address; those that have ended and are not needed are taken out.
    channels       by peer; they stay, so that a number is never given to another peer and nobody has to wait
                   until it may be (section 12).
    due            when to call `tend`; -inf as soon as something is wanted.
    """

    __slots__ = ("_options", "_peers", "channels", "due", "permissions")

    def __init__(self, options: Options) -> None:
        self.permissions: dict[str, Grant] = {}
        self.channels: dict[Address, Grant] = {}
        self.due = math.inf
        self._options = options
        self._peers: dict[int, Address] = {}

    def permit(self, ip: str) -> Grant | None:
        """Return the permission for an address, a new one if need be; None if there are too many."""
        permission = self.permissions.get(ip)
        if permission is None and len(self.permissions) < self._options.max_permissions:
            attributes: dict[Attribute[Any], Any] = {stun.XOR_PEER_ADDRESS: (ip, 0)}
            permission = self.permissions[ip] = Grant(
                CREATE_PERMISSION, attributes, _PERMISSION_LIFETIME, self._options.permission_refresh
            )
            self.due = -math.inf
        return permission

    def bind(self, peer: Address) -> Grant | None:
        """Return the channel to a peer, a new one if need be; None if there are too many."""
        channel = self.channels.get(peer)
        if channel is None and len(self.channels) < self._options.max_channels:
            number = _FIRST_CHANNEL + len(self.channels)
            attributes: dict[Attribute[Any], Any] = {stun.CHANNEL_NUMBER: number, stun.XOR_PEER_ADDRESS: peer}
            channel = self.channels[peer] = Grant(
                CHANNEL_BIND, attributes, _CHANNEL_LIFETIME, self._options.channel_refresh, number
            )
            self._peers[number] = peer
            self.due = -math.inf
        elif channel is not None and channel.state is IDLE:
            channel.want()
            self.due = -math.inf
        return channel

    def peer_of(self, number: int, now: float) -> Address | None:
        """Return who sends on a channel; None if it is not bound."""
        peer = self._peers.get(number)
        return peer if peer is not None and self.channels[peer].admits(now) else None

    def tend(self, now: float) -> list[Grant]:
        """Let go of what has ended and is not needed; return what is to be asked for now."""
        due: list[Grant] = []
        for ip, permission in list(self.permissions.items()):
            if not self._tend(permission, now, due):
                del self.permissions[ip]
        for channel in self.channels.values():
            if not self._tend(channel, now, due):
                channel.lapse()
        grants = (*self.permissions.values(), *self.channels.values())
        self.due = min((min(grant.due, grant.expires) for grant in grants), default=math.inf)
        return due

    def _tend(self, grant: Grant, now: float, due: list[Grant]) -> bool:
        if grant.expires <= now:
            if not grant.is_used:
                return False
            grant.want()
        if grant.due <= now:
            if grant.state is GRANTED and not grant.is_used:
                grant.due = math.inf
            else:
                grant.ask(now)
                due.append(grant)
        return True

    def grant(self, grant: Grant, now: float) -> None:
        """Note the server's consent."""
        grant.grant(now)
        self.due = min(self.due, grant.due)

    def refuse(self, grant: Grant, now: float) -> None:
        """Note the server's refusal; it is not asked again for a while."""
        grant.refuse(now, self._options.refusal_hold)
        self.due = min(self.due, grant.expires)

    def postpone(self, grant: Grant, now: float) -> None:
        """Note that nothing came of a renewal: try again while it still lasts."""
        grant.due = now + self._options.retry_after
        self.due = min(self.due, grant.due)

    def clear(self) -> None:
        """Forget everything: the allocation has ended, and with it all that belongs to it."""
        self.permissions.clear()
        self.channels.clear()
        self._peers.clear()
        self.due = math.inf
