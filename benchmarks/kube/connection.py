"""One connection pool to an API server.

`kubernetes.aio` brings the kubeconfig, TLS and authentication. Calls send ready bytes over its aiohttp session
and read bytes: a typed call costs three times the CPU.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config
from yarl import URL

from benchmarks.kube import kubeconfig as kubeconfig_file
from benchmarks.model.outcome import MeasurementError, UserError

_KEEP_ALIVE_S = 300.0
_READ_BUFFER_BYTES = 2**21


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished call: monotonic times around it, HTTP status (0 when none came), body, and what went wrong."""

    start_ns: int
    end_ns: int
    status: int
    body: bytes
    error: str | None

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked."""
        return self.error is None

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


class Connection:
    """Opens with `async with await Connection.open(kubeconfig)`."""

    def __init__(self, api_client: ApiClient, session: aiohttp.ClientSession, context: str = "") -> None:
        self.api_client = api_client
        self.context = context
        self.server = str(api_client.configuration.host).rstrip("/")
        self._session = session
        self._headers: dict[str, str] = {}
        self._request_options: dict[str, Any] = {}
        if api_client.configuration.tls_server_name:
            self._request_options["server_hostname"] = api_client.configuration.tls_server_name
        if api_client.configuration.proxy:
            self._request_options["proxy"] = api_client.configuration.proxy

    @classmethod
    async def open(cls, kubeconfig: Path, context: str = "") -> Connection:
        """Reads the kubeconfig, its current context or the one of that name; a bad one is the user's mistake, named."""
        if not kubeconfig.is_file():  # noqa: ASYNC240 - once, before anything is measured
            msg = f"There is no kubeconfig {kubeconfig}."
            raise UserError(msg)
        kubeconfig_file.require_usable(kubeconfig, context)
        configuration = type.__call__(Configuration)
        try:
            await load_kube_config(  # type: ignore[no-untyped-call]
                str(kubeconfig), context=context or None, client_configuration=configuration, persist_config=False
            )
            api_client = ApiClient(configuration)
        except Exception as error:  # the loader raises whatever the file makes it stumble over
            reason = " ".join(str(error).split()) or type(error).__name__
            msg = f"The kubeconfig {kubeconfig} can't be used: {reason[:300]}"
            raise UserError(msg) from error
        api_client.user_agent = "litelab-benchmarks"
        # No limit on connections and a long keep-alive: a call that is measured must not wait for a handshake.
        # No trust_env: a proxy of the operator's shell is no way into a lab.
        connector = aiohttp.TCPConnector(
            limit=0, ssl=api_client.rest_client.ssl_context, keepalive_timeout=_KEEP_ALIVE_S
        )
        session = aiohttp.ClientSession(connector=connector, read_bufsize=_READ_BUFFER_BYTES, trust_env=False)
        api_client.rest_client.pool_manager = session
        connection = cls(api_client, session, context)
        await connection.authenticate()
        return connection

    async def __aenter__(self) -> Self:
        """Is open already."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes every connection."""
        await self.api_client.close()  # type: ignore[no-untyped-call]

    async def authenticate(self) -> None:
        """Takes the headers of the kubeconfig's user anew, so that a short-lived token is fresh for what follows."""
        _, _, headers, _, _ = await self.api_client.param_serialize("GET", "/", auth_settings=["BearerToken"])
        self._headers = {"Accept": "application/json", "Content-Type": "application/json", **headers}

    def url(self, path: str) -> URL:
        """The address of `path` (already encoded)."""
        return URL(self.server + path, encoded=True)

    async def call(self, method: str, url: URL, body: bytes | None = None, *, limit_s: float = 60.0) -> Answer:
        """One call, stamped on both sides; what goes wrong is in the answer, never raised."""
        timeout = aiohttp.ClientTimeout(total=limit_s)
        status, content, error = 0, b"", None
        start_ns = time.monotonic_ns()
        try:
            async with self._session.request(
                method, url, data=body, headers=self._headers, timeout=timeout, **self._request_options
            ) as response:
                status = response.status
                content = await response.read()
            end_ns = time.monotonic_ns()
            if status >= 400:
                error = _status_message(status, content)
        except TimeoutError:
            end_ns = time.monotonic_ns()
            error = f"no answer within {limit_s:g} s"
        except (aiohttp.ClientError, OSError) as failure:
            end_ns = time.monotonic_ns()
            error = f"{type(failure).__name__}: {failure}"[:300]
        return Answer(start_ns, end_ns, status, content, error)

    async def get(self, path: str, *, limit_s: float = 60.0) -> Answer:
        """An unmeasured GET."""
        return await self.call("GET", self.url(path), limit_s=limit_s)

    async def stream(self, path: str) -> aiohttp.ClientResponse:
        """A response whose body goes on: the caller reads and closes it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=None)
        return await self._session.get(self.url(path), headers=self._headers, timeout=timeout, **self._request_options)

    async def warm(self, connections: int) -> None:
        """Opens that many connections at once, so that no measured call pays for a handshake."""
        url = self.url("/version")
        await asyncio.gather(*(self.call("GET", url) for _ in range(connections)))

    async def require_answer(self, limit_s: float = 15.0) -> dict[str, Any]:
        """The server's version, or why there is none."""
        answer = await self.get("/version", limit_s=limit_s)
        if answer.ok:
            return answer.json()
        raise MeasurementError(
            what="the API server does not answer",
            where=self.server,
            why=answer.error or "unknown",
            fix="Check that the lab is up and that the kubeconfig is the lab's own",
        )


def _status_message(status: int, body: bytes) -> str:
    try:
        message = json.loads(body).get("message", "")
    except (ValueError, AttributeError):
        message = body[:200].decode("utf-8", "replace")
    return f"HTTP {status}: {message}"[:300]
