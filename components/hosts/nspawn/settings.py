"""What a lab file says of nspawn hosts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.config.settings import HostSettings, Slash24
from inputs.places import Place


class NspawnSettings(HostSettings):
    """The hosts of an nspawn lab."""

    kind: Literal["nspawn"] = Field("nspawn", description="What the hosts are made of")
    subnet: Slash24 | None = Field(None, description="The lab's IPv4 /24; default, one that this machine does not use")
    internet: bool = Field(False, description="Give hosts a way out, by user-space NAT")

    @property
    def is_local(self) -> bool:
        """Always."""
        return True

    def networks(self) -> dict[Place, str]:
        """The subnet, if it is named."""
        return {("hosts", "subnet"): self.subnet} if self.subnet else {}
